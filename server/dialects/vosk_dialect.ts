/**
 * The protocol of vosk-server, as telephone systems and its sample clients speak it: exactly one text message for every
 * binary one. Who waits for it is heard at the pace of the answers; https://github.com/alphacep/vosk-server.
 */
import { z } from 'zod';
import { LimitError, ProtocolError } from '../../pipeline/errors.ts';
import {
  FINAL_OBJECTIVE_MS,
  PCM_RATE_MAX_HZ,
  PCM_RATE_MIN_HZ,
  SESSION_INFLIGHT_MAX_BYTES,
  SESSION_MAX_MS,
} from '../../pipeline/limits.ts';
import type { AudioFormat } from '../../pipeline/audio.ts';
import { findContainer } from '../../pipeline/codecs/container_magic.ts';
import { messageMaxBytes } from '../../pipeline/input_meter.ts';
import type { Session } from '../../pipeline/session.ts';
import type { FinalEvent } from '../../pipeline/session_events.ts';
import { slicesOf } from './audio_slices.ts';
import type { ErrorSpeech } from '../access/access.ts';
import { readControlText } from './control_text.ts';
import { plainClosing, type Dialect, type DialectParts } from './dialect.ts';
import { DialectSocket, type DialectEvent } from './dialect_socket.ts';
import { PacedInput } from './paced_input.ts';
import { plainText, plainWord } from './plain_text.ts';
import { errorAnswer } from '../transport/request_head.ts';
import type { Connection, ConnectionListener } from '../transport/transport.ts';

const PATH = '/vosk';

/** The protocol has no message for errors. */
const SPEECH: ErrorSpeech = { errorText: () => undefined, closingOf: plainClosing };

const rate = z.number().min(PCM_RATE_MIN_HZ).max(PCM_RATE_MAX_HZ).transform(Math.round);
const CONTROL = z.object({
  config: z
    .object({
      sample_rate: rate.optional(),
      words: z.union([z.boolean(), z.number()]).transform(Boolean).optional(),
      max_alternatives: z.int().min(0).optional(),
    })
    .optional(),
  eof: z.unknown().optional(),
  reset: z.unknown().optional(),
});

class VoskDialect implements ConnectionListener {
  readonly #socket: DialectSocket;
  readonly #parts: DialectParts;
  readonly #input: PacedInput;
  #format: AudioFormat;
  #session: Session | undefined;
  #hasAudio = false;
  #hasWords = true;
  #hasAlternatives = false;
  /** The utterance in progress so far. */
  #partial = '';
  /** Finals with words that have not been sent. */
  #finals: FinalEvent[] = [];
  /** A reset is on its way through the audio path: what comes after it waits. */
  #isResetting = false;

  constructor(connection: Connection, parts: DialectParts) {
    this.#parts = parts;
    this.#input = new PacedInput(parts.clock);
    this.#format = { encoding: 'pcm_s16le', sampleRateHz: parts.defaults.voskSampleRateHz, channels: 1 };
    this.#socket = new DialectSocket(connection, {
      ...parts,
      speech: SPEECH,
      onOver: () => {
        this.#input.close();
      },
    });
    this.#socket.guarded(() => {
      this.#open(this.#format);
    });
  }

  text(message: string): void {
    this.#socket.guarded(() => {
      this.#control(parseControl(message));
    });
  }

  binary(message: Uint8Array): void {
    this.#socket.guarded(() => {
      this.#hear(message);
    });
  }

  drained(): void {
    // Nothing waits for it: what did not fit ended the connection.
  }

  closed(): void {
    this.#socket.gone();
  }

  /** Opens the session, in place of one that has heard nothing. Throws `OverloadError`. */
  #open(format: AudioFormat): void {
    const { silenceMs, maxUtteranceMs } = this.#parts.defaults;
    if (this.#session !== undefined) this.#socket.discard(this.#session);
    this.#format = format;
    this.#session = this.#socket.open(
      {
        format,
        endpointing: { silenceMs, maxUtteranceMs },
        ...{ partials: true, words: true, originAudioMs: 0, firstUtteranceId: 1 },
        ...{
          dialect: 'vosk' as const,
          idleMaxMs: SESSION_MAX_MS,
          finalObjectiveMs: FINAL_OBJECTIVE_MS,
          isPaced: true,
        },
      },
      (event) => {
        this.#onEvent(event);
      },
    );
  }

  #control({ config, eof, reset }: z.infer<typeof CONTROL>): void {
    if (config !== undefined) {
      this.#hasWords = config.words ?? this.#hasWords;
      if (config.max_alternatives !== undefined) this.#hasAlternatives = config.max_alternatives > 0;
      const sampleRateHz = config.sample_rate ?? this.#format.sampleRateHz;
      if (!this.#hasAudio && sampleRateHz !== this.#format.sampleRateHz) {
        this.#open({ ...this.#format, sampleRateHz });
      }
    }
    if (eof !== undefined) {
      this.#input.push(() => {
        this.#session?.stop();
        return 'accepted';
      });
    } else if (reset !== undefined) {
      this.#input.push(() => {
        this.#isResetting = true;
        this.#session?.flush('reset');
        return 'accepted';
      });
    }
  }

  #hear(message: Uint8Array): void {
    // The sample clients send a WAV file as it is, with its header.
    if (!this.#hasAudio && findContainer(message) === 'wav') this.#open({ ...this.#format, encoding: 'wav' });
    if (message.length > 0) this.#hasAudio = true;
    for (const slice of slicesOf(message, messageMaxBytes(this.#format))) {
      this.#input.push(() => this.#offer(slice), slice.length);
    }
    this.#input.push(() => {
      this.#reply();
      return 'accepted';
    });
    if (this.#input.waitingBytes > SESSION_INFLIGHT_MAX_BYTES) {
      throw new LimitError('too_fast', 'audio comes faster than it can be heard; await each answer');
    }
  }

  #offer(bytes: Uint8Array): 'accepted' | 'full' {
    return this.#isResetting ? 'full' : (this.#session?.push(bytes) ?? 'accepted');
  }

  /** The answer to one binary message: the oldest final that is owed, else the utterance in progress. */
  #reply(): void {
    const final = this.#finals.shift();
    this.#socket.send(final === undefined ? { partial: this.#partial } : this.#result([final]));
  }

  #onEvent(event: DialectEvent): void {
    switch (event.type) {
      case 'partial':
        this.#partial = plainText(event.text);
        return;
      case 'final':
        this.#partial = '';
        if (event.text !== '') this.#finals.push(event);
        return;
      case 'cut':
        return;
      case 'flushed':
        this.#isResetting = false;
        this.#socket.send(this.#result(this.#finals.splice(0)));
        return;
      case 'done':
        this.#socket.send(this.#result(this.#finals.splice(0)));
        this.#socket.finish();
        return;
      case 'speechStart':
      case 'speechEnd':
      case 'notice':
      case 'goAway':
      // The protocol has no message for it.
    }
  }

  #result(finals: readonly FinalEvent[]): object {
    const text = finals.map((final) => plainText(final.text)).join(' ');
    const words = this.#hasWords ? finals.flatMap(wordsOf) : [];
    if (this.#hasAlternatives) {
      const alternative = {
        text,
        confidence: 1,
        ...(words.length > 0 && { result: words.map(withoutConfidence) }),
      };
      return { alternatives: [alternative] };
    }
    return words.length > 0 ? { result: words, text } : { text };
  }
}

interface VoskWord {
  readonly conf: number;
  readonly end: number;
  readonly start: number;
  readonly word: string;
}

/** Times are in seconds; the models say nothing of how sure they are. */
function wordsOf({ words }: FinalEvent): readonly VoskWord[] {
  return words
    .map(({ text, startAudioMs, endAudioMs }) => ({
      ...{ conf: 1, end: endAudioMs / 1_000, start: startAudioMs / 1_000, word: plainWord(text) },
    }))
    .filter(({ word }) => word !== '');
}

function withoutConfidence({ word, start, end }: VoskWord): object {
  return { word, start, end };
}

function parseControl(text: string): z.infer<typeof CONTROL> {
  const read = CONTROL.safeParse(readControlText(text));
  if (read.success) return read.data;
  const what = `expected {"config": {"sample_rate": ${PCM_RATE_MIN_HZ} to ${PCM_RATE_MAX_HZ}}}, {"eof": 1} or {"reset": 1}`;
  throw new ProtocolError('bad_message', what);
}

/** The protocol of vosk-server at its path. */
export function voskDialect(parts: DialectParts): Dialect {
  return {
    name: 'vosk',
    path: PATH,
    open: ({ protocols }) => ({
      access: SPEECH,
      // Asterisk offers one of its own, `ws`, and wants it back.
      protocol: protocols.find((protocol) => protocol === 'ws'),
      listener: (connection) => new VoskDialect(connection, parts),
    }),
    refuse: ({ status, error, headers }) => errorAnswer(status, error, headers),
  };
}
