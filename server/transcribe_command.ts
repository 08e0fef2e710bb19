/** The `transcribe` command: streams files to a server, its own or another, and prints what comes back. */
import type { Writable } from 'node:stream';
import { WebSocket } from 'ws';
import { STREAM_PATH, type FinalMessage } from '../client/protocol.ts';
import { StreamClient } from '../client/stream_client.ts';
import { StreamError } from '../client/stream_error.ts';
import { systemClock, type Clock } from '../pipeline/clock.ts';
import { ConfigError, TranscriptionError } from '../pipeline/errors.ts';
import { SILERO_VAD_V5 } from '../models/catalogue.ts';
import { checkReadable, readAudioFile } from './audio_file.ts';
import type { Config } from './config.ts';
import type { FileEncoding } from './file_encoding.ts';
import { streamMessages } from './file_stream.ts';
import { FirstConnection } from './first_connection.ts';
import { LiveLine, type TerminalStream } from './live_line.ts';
import type { RootLog } from './log.ts';
import { ensureModels } from './models_command.ts';
import { oneLine, renderTranscript, type TranscriptFormat } from './transcript_format.ts';

/** What `transcribe` is asked to do. */
export interface TranscribeOptions {
  readonly files: readonly string[];
  /** Server to use (`ws:`, `wss:`, `http:` or `https:`); without one, a server of its own is started. */
  readonly url: string | undefined;
  /** API key or token for the server at `url`. */
  readonly token?: string | undefined;
  /** Audio seconds sent per second, above 0. However high, a server takes audio some 30 s ahead of real time only. */
  readonly speed: number;
  readonly encoding: FileEncoding;
  readonly format: TranscriptFormat;
  readonly config: Config;
  readonly log: RootLog;
  readonly stdout: Writable;
  /** Faults, and partials where it is a terminal. */
  readonly stderr: TerminalStream;
  readonly signal: AbortSignal;
  readonly clock?: Clock;
}

/** Where the audio goes. */
interface Target {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Transcribes files one after the other: 0 when all were, 1 when one could not be (`stderr` says why; the others are
 * still done). An abort of `signal` ends it quietly. Text is printed as it becomes final, the other forms file by file.
 * A server of its own is started only if there is a file to read, and with the weights it needs. Throws `ConfigError`
 * for options that make no sense together and whatever starting a server throws.
 */
export async function transcribeFiles(options: TranscribeOptions): Promise<number> {
  const { files, format, url, token, signal } = options;
  if (files.length > 1 && (format === 'srt' || format === 'vtt')) {
    throw new ConfigError(
      'bad_config',
      `--format ${format} takes one file: subtitles belong to one recording`,
    );
  }
  if (url !== undefined) streamUrl(url);
  else if (token !== undefined) throw new ConfigError('bad_config', '--token is for the server at --url');
  const readable: string[] = [];
  for (const file of files) {
    if (await succeeds(file, checkReadable(file), options)) readable.push(file);
  }
  if (readable.length === 0) return 1;
  let failedCount = files.length - readable.length;
  const target = await openTarget(options);
  try {
    for (const file of readable) {
      if (isAborted(signal)) break;
      if (!(await succeeds(file, transcribeFile(file, target.url, options), options))) failedCount++;
    }
  } finally {
    await target.close();
  }
  return failedCount === 0 ? 0 : 1;
}

/** Whether the work on a file was done; if not, `stderr` says why. Throws what is no fault of file or server. */
async function succeeds(file: string, work: Promise<void>, { stderr }: TranscribeOptions): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (!(error instanceof TranscriptionError || error instanceof StreamError)) throw error;
    stderr.write(`earwitness: ${describe(error, file)}\n`);
    return false;
  }
}

function describe(error: TranscriptionError | StreamError, file: string): string {
  return error instanceof StreamError ? `${file}: ${error.message} (${error.code})` : error.message;
}

/** `url` as that of the stream: a bare host gets the native protocol's path. Throws `ConfigError` if it is no URL. */
export function streamUrl(url: string): string {
  const scheme = /^(https?|wss?):\/\//.exec(url)?.[1];
  if (scheme === undefined || !URL.canParse(url)) {
    throw new ConfigError('bad_config', `--url: expected ws://host:port${STREAM_PATH}, got '${url}'`);
  }
  const stream = new URL(url.replace(/^http/, 'ws'));
  if (stream.pathname === '/') stream.pathname = STREAM_PATH;
  return stream.href;
}

async function openTarget({ url, config, log, stderr, signal }: TranscribeOptions): Promise<Target> {
  if (url !== undefined) return { url: streamUrl(url), close: () => Promise.resolve() };
  const { modelsDir, model } = config;
  const ids = [model, SILERO_VAD_V5.id];
  await ensureModels({ modelsDir, ids, quiet: true, stdout: stderr, stderr, signal });
  const { startServer } = await import('./gateway.ts');
  const server = await startServer(config, log);
  try {
    await Promise.race([server.ready, abortOf(signal)]);
  } catch (error) {
    await server.close();
    throw error;
  }
  return { url: streamUrl(server.url), close: () => server.close() };
}

async function transcribeFile(file: string, url: string, options: TranscribeOptions): Promise<void> {
  const { token, encoding, format, config, stdout, stderr, signal, clock = systemClock } = options;
  const messages = await readAudioFile(file, encoding);
  if (isAborted(signal)) return;
  const live = new LiveLine(stderr);
  const first = new FirstConnection({
    url,
    tell: (message) => {
      stderr.write(`earwitness: ${message}\n`);
    },
    giveUp: () => {
      client.close();
    },
  });
  const client = new StreamClient({
    url,
    ...(token === undefined ? {} : { token }),
    audio: { encoding },
    endpointing: { silenceMs: config.silenceMs, maxUtteranceMs: config.maxUtteranceMs },
    partials: stderr.isTTY === true,
    words: format === 'json',
    createSocket: (address, protocols) =>
      first.watch(new WebSocket(address, protocols, { perMessageDeflate: false })),
  });
  const finals = showEvents(client, { file, live, options });
  const abort = (): void => {
    client.close();
  };
  signal.addEventListener('abort', abort);
  try {
    await client.start();
    await streamMessages(client, messages, { ...options, clock });
    await client.stop();
  } catch (error) {
    // Interrupted: what is there already was shown, and there is nothing to tell.
    if (isAborted(signal)) return;
    throw first.error ?? error;
  } finally {
    signal.removeEventListener('abort', abort);
    live.clear();
    client.close();
  }
  if (format !== 'text') {
    const durationMs = messages.reduce((sum, message) => sum + message.durationMs, 0);
    stdout.write(renderTranscript({ file, durationMs, finals }, format));
  }
}

function abortOf(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      resolve();
    };
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
  });
}

/** A call, because a signal's state changes behind the compiler's back. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Shows what a client hears while it hears it; returns the finals, a list that grows. */
function showEvents(
  client: StreamClient,
  screen: { readonly file: string; readonly live: LiveLine; readonly options: TranscribeOptions },
): readonly FinalMessage[] {
  const { file, live } = screen;
  const { files, format, stdout, stderr } = screen.options;
  const finals: FinalMessage[] = [];
  const prefix = files.length > 1 ? `${file}: ` : '';
  const tell = (message: string): void => {
    live.clear();
    stderr.write(`earwitness: ${file}: ${message}\n`);
  };
  client.on('partial', ({ text }) => {
    live.show(text);
  });
  client.on('final', (final) => {
    live.clear();
    finals.push(final);
    if (final.text === '') return;
    // On a terminal the words shall not vanish before the file is done, whatever is printed then.
    const stream = format === 'text' ? stdout : stderr.isTTY === true ? stderr : undefined;
    stream?.write(`${prefix}${oneLine(final.text)}\n`);
  });
  client.on('notice', ({ message }) => {
    tell(message);
  });
  client.on('audioLost', ({ fromAudioMs, toAudioMs }) => {
    tell(`audio from ${fromAudioMs} to ${toAudioMs} ms was lost`);
  });
  return finals;
}
