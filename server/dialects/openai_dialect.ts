/**
 * OpenAI's realtime protocol for transcription at `/v1/realtime`, in today's form and that of the beta, for the clients
 * that were written for it. OpenAI API reference, "Realtime": client events and server events.
 */
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { ProtocolError, TranscriptionError } from '../../pipeline/errors.ts';
import { messageMaxBytes } from '../../pipeline/input_meter.ts';
import {
  COMMIT_MIN_MS,
  FINAL_OBJECTIVE_MS,
  SESSION_MAX_MS,
  UTTERANCES_PER_SESSION_COUNT,
} from '../../pipeline/limits.ts';
import type { Session } from '../../pipeline/session.ts';
import type { SessionSettings } from '../../pipeline/session_settings.ts';
import type { ErrorSpeech } from '../access/access.ts';
import { slicesOf } from './audio_slices.ts';
import { plainClosing, type Dialect, type DialectParts } from './dialect.ts';
import { DialectSocket, type DialectEvent } from './dialect_socket.ts';
import { OpenaiItems } from './openai_items.ts';
import { openaiPosts, refuseRequest } from './openai_requests.ts';
import {
  endpointingOf,
  formatOf,
  initialSettings,
  sessionObject,
  updatedSettings,
  type RealtimeSettings,
} from './openai_session.ts';
import type { Connection, ConnectionListener, UpgradeRequest } from '../transport/transport.ts';

const PATH = '/v1/realtime';
const BETA_PROTOCOL = 'openai-beta.realtime-v1';

const SPEECH: ErrorSpeech = {
  errorText: (error) =>
    JSON.stringify({ type: 'error', event_id: `event_${randomUUID()}`, error: errorObject(error) }),
  closingOf: plainClosing,
};

const EVENT = z.object({
  type: z.string().max(100),
  event_id: z.string().max(512).optional(),
  session: z.unknown().optional(),
  audio: z.unknown().optional(),
  item_id: z.unknown().optional(),
});
type ClientEvent = z.infer<typeof EVENT>;

const base64 = z.base64();

/** The session that hears what is appended now, and what it was opened for. */
interface Engine {
  readonly session: Session;
  readonly opened: Pick<SessionSettings, 'format' | 'endpointing'>;
  hasAudio: boolean;
}

class OpenaiDialect implements ConnectionListener {
  readonly #socket: DialectSocket;
  readonly #parts: DialectParts;
  readonly #isBeta: boolean;
  readonly #items: OpenaiItems;
  readonly #id = `sess_${randomUUID().replaceAll('-', '')}`;
  readonly #expiresAtSeconds: number;
  #settings: RealtimeSettings;
  #engine: Engine | undefined;
  #engineCount = 0;
  #eventCount = 0;
  /** Audio that was appended, in all and up to the last commit. */
  #appendedMs = 0;
  #committedMs = 0;

  constructor(connection: Connection, parts: DialectParts, isBeta: boolean) {
    this.#parts = parts;
    this.#isBeta = isBeta;
    this.#expiresAtSeconds = Math.floor((parts.now().getTime() + SESSION_MAX_MS) / 1_000);
    this.#settings = initialSettings(parts.defaults.model);
    this.#socket = new DialectSocket(connection, { ...parts, speech: SPEECH, onOver: () => undefined });
    this.#items = new OpenaiItems({
      isBeta,
      send: (event) => {
        this.#send(event);
      },
    });
    this.#socket.guarded(() => {
      this.#open(this.#settings);
      this.#sendSession(isBeta ? 'transcription_session.created' : 'session.created');
    });
  }

  text(message: string): void {
    let eventId: string | undefined;
    this.#socket.guarded(() => {
      try {
        const event = parseEvent(message);
        eventId = event.event_id;
        this.#onClientEvent(event);
      } catch (error) {
        // What a client says wrongly is answered, and the session goes on.
        if (!(error instanceof ProtocolError)) throw error;
        this.#sendError(error, eventId);
      }
    });
  }

  binary(): void {
    this.#socket.guarded(() => {
      this.#sendError(new ProtocolError('bad_message', 'audio comes as base64 in input_audio_buffer.append'));
    });
  }

  drained(): void {
    // Nothing waits for it: what did not fit ended the connection.
  }

  closed(): void {
    this.#socket.gone();
  }

  #onClientEvent(event: ClientEvent): void {
    switch (event.type) {
      case 'session.update':
      case 'transcription_session.update':
        this.#update(event);
        return;
      case 'input_audio_buffer.append':
        this.#append(event.audio);
        return;
      case 'input_audio_buffer.commit':
        this.#commit(event);
        return;
      case 'input_audio_buffer.clear':
        this.#committedMs = this.#appendedMs;
        this.#engine?.session.flush(this.#items.clear());
        this.#send({ type: 'input_audio_buffer.cleared' });
        return;
      case 'conversation.item.retrieve':
        this.#retrieve(event);
        return;
      case 'conversation.item.delete':
        this.#delete(event);
        return;
      default:
        throw new ProtocolError('bad_message', `there is no '${event.type}' in a transcription session`);
    }
  }

  #update({ type, session }: ClientEvent): void {
    const settings = updatedSettings(this.#settings, session, this.#parts.defaults.model);
    if (!isDeepStrictEqual(this.#engine?.opened, this.#wanted(settings))) {
      // One that ends and one that is heard: more would be places that nobody else gets.
      if (this.#socket.sessionCount > 1) {
        const what = 'the audio settings are still being changed; wait for the text of what was said before';
        throw new ProtocolError('bad_settings', what);
      }
      this.#open(settings);
    }
    this.#settings = settings;
    this.#sendSession(type.replace(/update$/, 'updated'));
  }

  #wanted(settings: RealtimeSettings): Engine['opened'] {
    return { format: formatOf(settings), endpointing: endpointingOf(settings, this.#parts.defaults) };
  }

  /** Opens a session as the settings want it. The one before says what it has heard, if it has. Throws `OverloadError`. */
  #open(settings: RealtimeSettings): void {
    const before = this.#engine;
    if (before?.hasAudio === true) before.session.stop();
    else if (before !== undefined) this.#socket.discard(before.session);
    const opened = this.#wanted(settings);
    const hasTurnDetection = settings.turnDetection !== null;
    const session = this.#socket.open(
      {
        ...{ ...opened, partials: true, words: false, isPaced: false, tellsCuts: true },
        originAudioMs: Math.round(this.#appendedMs),
        firstUtteranceId: this.#engineCount++ * UTTERANCES_PER_SESSION_COUNT + 1,
        ...{ dialect: 'openai' as const, idleMaxMs: SESSION_MAX_MS, finalObjectiveMs: FINAL_OBJECTIVE_MS },
      },
      (event) => {
        this.#onEvent(event, { hasTurnDetection });
      },
    );
    this.#engine = { session, opened, hasAudio: false };
  }

  #append(audio: unknown): void {
    const read = base64.safeParse(audio);
    if (!read.success) throw new ProtocolError('bad_message', 'audio: expected base64');
    const bytes = new Uint8Array(Buffer.from(read.data, 'base64'));
    const engine = this.#engine;
    if (engine === undefined || bytes.length === 0) return;
    engine.hasAudio = true;
    const { format } = engine.opened;
    const sampleBytes = format.encoding === 'pcm_s16le' ? 2 : 1;
    this.#appendedMs += (bytes.length * 1_000) / (sampleBytes * format.sampleRateHz);
    for (const slice of slicesOf(bytes, messageMaxBytes(format))) engine.session.push(slice);
  }

  #commit({ event_id }: ClientEvent): void {
    const uncommittedMs = this.#appendedMs - this.#committedMs;
    if (uncommittedMs < COMMIT_MIN_MS) {
      const what = `a commit needs at least ${COMMIT_MIN_MS} ms of audio, there are ${Math.round(uncommittedMs)} ms`;
      this.#sendError(new ProtocolError('bad_message', what), event_id, 'input_audio_buffer_commit_empty');
      return;
    }
    this.#committedMs = this.#appendedMs;
    const id = this.#items.commit(this.#appendedMs, this.#settings.turnDetection !== null);
    this.#engine?.session.flush(id);
  }

  #retrieve({ item_id, event_id }: ClientEvent): void {
    const item = this.#items.retrieve(String(item_id));
    if (item !== undefined) this.#send({ type: 'conversation.item.retrieved', item });
    else this.#sendNoItem(event_id, 'item_retrieve_invalid_item_id');
  }

  #delete({ item_id, event_id }: ClientEvent): void {
    if (this.#items.delete(String(item_id))) this.#send({ type: 'conversation.item.deleted', item_id });
    else this.#sendNoItem(event_id, 'item_delete_invalid_item_id');
  }

  #onEvent(event: DialectEvent, from: { readonly hasTurnDetection: boolean }): void {
    switch (event.type) {
      case 'speechEnd':
        if (from.hasTurnDetection) this.#committedMs = Math.max(this.#committedMs, event.audioMs);
        this.#items.heard({ event, ...from });
        return;
      case 'speechStart':
      case 'partial':
      case 'final':
        this.#items.heard({ event, ...from });
        return;
      case 'cut':
        this.#items.cut(event.id);
        return;
      case 'flushed':
        this.#items.flushed(event.id);
        return;
      case 'done':
        // It is the last one, and this one is counted still.
        if (this.#socket.sessionCount === 1) this.#socket.finish();
        return;
      case 'notice':
      case 'goAway':
      // The protocol has no event for it; an `error` would end most clients.
    }
  }

  #sendSession(type: string): void {
    const session = sessionObject(this.#settings, {
      ...{ id: this.#id, expiresAtSeconds: this.#expiresAtSeconds, isBeta: this.#isBeta },
    });
    this.#send({ type, session });
  }

  #sendNoItem(eventId: string | undefined, code: string): void {
    this.#sendError(new ProtocolError('bad_message', 'item_id: there is no such item'), eventId, code);
  }

  #sendError(error: ProtocolError, eventId?: string, code?: string): void {
    this.#send({
      type: 'error',
      error: { ...errorObject(error), ...(code === undefined ? {} : { code }), event_id: eventId ?? null },
    });
  }

  #send(event: object): void {
    this.#socket.send({ event_id: `event_${++this.#eventCount}`, ...event });
  }
}

function parseEvent(text: string): ClientEvent {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ProtocolError('bad_message', 'an event must be one JSON object', { cause });
  }
  const read = EVENT.safeParse(json);
  if (!read.success) throw new ProtocolError('bad_message', 'an event must be an object with a `type`');
  return read.data;
}

/** An error in OpenAI's form. */
function errorObject({ code, message, retryable }: TranscriptionError): object {
  return { type: retryable ? 'server_error' : 'invalid_request_error', code, message, param: null };
}

function isBeta({ headers, protocols }: UpgradeRequest): boolean {
  return headers.get('openai-beta')?.includes('realtime=v1') === true || protocols.includes(BETA_PROTOCOL);
}

/** OpenAI's protocol at its paths. */
export function openaiDialect(parts: DialectParts): Dialect {
  return {
    name: 'openai',
    path: PATH,
    open: (request) => ({
      access: SPEECH,
      listener: (connection) => new OpenaiDialect(connection, parts, isBeta(request)),
    }),
    refuse: refuseRequest,
    posts: openaiPosts(parts),
  };
}
