/**
 * Deepgram's `/v1/listen`: live streams over a WebSocket, and recorded files over HTTP, for the clients that were
 * written for it. Deepgram API reference, "Live Audio" and "Pre-recorded Audio".
 */
import { createHash, randomUUID } from 'node:crypto';
import { z } from 'zod';
import { ProtocolError } from '../../pipeline/errors.ts';
import { messageMaxBytes } from '../../pipeline/input_meter.ts';
import type { ErrorSpeech } from '../access/access.ts';
import { ChannelSplitter, slicesOf } from './audio_slices.ts';
import { readControlText } from './control_text.ts';
import { DeepgramChannel } from './deepgram_channel.ts';
import { answerFile } from './deepgram_file.ts';
import {
  deepgramClosing,
  errorCodeOf,
  errorMessage,
  metadataOf,
  type DeepgramOrigin,
} from './deepgram_messages.ts';
import { readParameters, type DeepgramParameters } from './deepgram_parameters.ts';
import type { Dialect, DialectParts, RequestRefusal, TextAnswer } from './dialect.ts';
import { DialectSocket } from './dialect_socket.ts';
import type { Connection, ConnectionListener } from '../transport/transport.ts';

const PATH = '/v1/listen';

const SPEECH: ErrorSpeech = {
  errorText: (error) => JSON.stringify(errorMessage(error)),
  closingOf: deepgramClosing,
};

const CONTROL = z.object({
  type: z.string(),
  /** Of `Finalize`: the channel meant; all of them without it. */
  channel: z.int().min(0).optional(),
});

interface Stream {
  readonly parameters: DeepgramParameters;
  readonly origin: DeepgramOrigin;
}

class DeepgramDialect implements ConnectionListener {
  readonly #socket: DialectSocket;
  readonly #parts: DialectParts;
  readonly #stream: Stream;
  readonly #channels: DeepgramChannel[] = [];
  readonly #splitter: ChannelSplitter | undefined;
  readonly #sha256 = createHash('sha256');
  readonly #createdAt: Date;
  #doneCount = 0;
  #durationMs = 0;

  constructor(connection: Connection, parts: DialectParts, stream: Stream) {
    this.#parts = parts;
    this.#stream = stream;
    this.#createdAt = parts.now();
    const { sessionCount, sampleBytes } = stream.parameters;
    this.#splitter = sessionCount > 1 ? new ChannelSplitter(sampleBytes ?? 1, sessionCount) : undefined;
    this.#socket = new DialectSocket(connection, {
      ...parts,
      speech: SPEECH,
      onOver: () => {
        for (const channel of this.#channels) channel.close();
      },
    });
    this.#socket.guarded(() => {
      for (let channel = 0; channel < sessionCount; channel++)
        this.#channels.push(this.#openChannel(channel));
    });
  }

  text(message: string): void {
    this.#socket.guarded(() => {
      this.#control(message);
    });
  }

  binary(message: Uint8Array): void {
    if (this.#socket.isOver) return;
    if (message.length === 0) {
      this.#stop();
      return;
    }
    this.#sha256.update(message);
    const parts = this.#splitter?.push(message) ?? [message];
    for (const [i, { session }] of this.#channels.entries()) {
      for (const slice of this.#slices(parts[i] ?? message)) session.push(slice);
    }
  }

  drained(): void {
    // Nothing waits for it: what did not fit was dropped or ended the stream.
  }

  closed(): void {
    this.#socket.gone();
  }

  #openChannel(channel: number): DeepgramChannel {
    return new DeepgramChannel({
      ...{ socket: this.#socket, clock: this.#parts.clock, channel },
      ...this.#stream,
      onDone: (audioMs) => {
        this.#onDone(audioMs);
      },
    });
  }

  /** What is longer than a message of its encoding; an Opus packet cannot be cut. */
  #slices(bytes: Uint8Array): readonly Uint8Array[] {
    const { format } = this.#stream.parameters;
    return format.encoding === 'opus' ? [bytes] : slicesOf(bytes, messageMaxBytes(format));
  }

  #control(text: string): void {
    const { type, channel } = parseControl(text);
    for (const { session } of this.#channels) session.keepAlive();
    switch (type) {
      case 'Finalize':
        for (const [i, one] of this.#channels.entries()) {
          if (channel === undefined || channel === i) one.finalize();
        }
        return;
      case 'CloseStream':
        this.#stop();
    }
  }

  #stop(): void {
    for (const { session } of this.#channels) session.stop();
  }

  #onDone(audioMs: number): void {
    this.#durationMs = Math.max(this.#durationMs, audioMs);
    if (++this.#doneCount < this.#channels.length) return;
    const { origin, parameters } = this.#stream;
    const metadata = metadataOf(origin, {
      ...{ sha256: this.#sha256.digest('hex'), createdAt: this.#createdAt },
      ...{ durationMs: this.#durationMs, channelCount: parameters.channelCount },
    });
    this.#socket.send({ type: 'Metadata', ...metadata });
    this.#socket.finish();
  }
}

/** Reads a text frame; types that are not known pass. */
function parseControl(text: string): z.infer<typeof CONTROL> {
  const read = CONTROL.safeParse(readControlText(text));
  if (!read.success) throw new ProtocolError('bad_message', 'a text frame must be an object with a `type`');
  return read.data;
}

function refuse({ status, error, headers }: RequestRefusal): TextAnswer {
  const { message } = error;
  return {
    status,
    headers: {
      'Content-Type': 'application/json',
      // Headers are ASCII; a client's own words may stand in the message.
      'dg-error': message.replaceAll(/[^\x20-\x7e]/g, '?'),
      ...headers,
    },
    body: `${JSON.stringify({ err_code: errorCodeOf(status), err_msg: message, request_id: randomUUID() })}\n`,
  };
}

/** Deepgram's protocol at its path. */
export function deepgramDialect(parts: DialectParts): Dialect {
  const { defaults } = parts;
  return {
    name: 'deepgram',
    path: PATH,
    open: ({ query }) => {
      const parameters = readParameters(query, defaults);
      const origin = { requestId: randomUUID(), model: defaults.model };
      return {
        access: SPEECH,
        headers: { 'dg-request-id': origin.requestId },
        listener: (connection) => new DeepgramDialect(connection, parts, { parameters, origin }),
      };
    },
    refuse,
    posts: new Map([[PATH, (request) => answerFile(request, parts)]]),
  };
}
