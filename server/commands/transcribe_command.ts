/** The `transcribe` command: streams files to a server, its own or another, and prints what comes back. */
import type { Writable } from 'node:stream';
import { WebSocket } from 'ws';
import { STREAM_PATH, type FinalMessage } from '../../client/protocol.ts';
import { StreamClient } from '../../client/stream_client.ts';
import { StreamError } from '../../client/stream_error.ts';
import { systemClock, type Clock } from '../../pipeline/clock.ts';
import { TranscriptionError, UsageError } from '../../pipeline/errors.ts';
import { SILERO_VAD_V5 } from '../../models/catalogue.ts';
import { checkReadable, readAudioFile, type FileMessage } from './audio_file.ts';
import { TOKEN_VARIABLE, type Config } from '../config.ts';
import type { FileEncoding } from './file_encoding.ts';
import { streamMessages } from './file_stream.ts';
import { FirstConnection } from './first_connection.ts';
import { LiveLine, type TerminalStream } from './live_line.ts';
import type { RootLog } from '../records/log.ts';
import { ensureModels } from './models_command.ts';
import { oneLine, renderTranscript, type TranscriptFormat } from '../../client/transcript_format.ts';

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
 * A server of its own is started only when a file has been read, and with the weights it needs. Throws `UsageError`
 * for options that make no sense together and whatever starting a server throws.
 */
export async function transcribeFiles(options: TranscribeOptions): Promise<number> {
  const { files, format, url, token, signal } = options;
  if (files.length > 1 && (format === 'srt' || format === 'vtt')) {
    throw new UsageError(`--format ${format} takes one file: subtitles belong to one recording`);
  }
  if (url !== undefined) streamUrl(url);
  else if (token !== undefined) throw new UsageError('--token is for the server at --url');
  const there: string[] = [];
  for (const file of files) {
    const isThere = checkReadable(file).then(() => true);
    if ((await done(file, isThere, options)) === true) there.push(file);
  }
  let doneCount = 0;
  let target: Target | undefined;
  try {
    for (const file of there) {
      const messages = await done(file, readAudioFile(file, options.encoding), options);
      if (messages === undefined) continue;
      target ??= await openTarget(options);
      if (isAborted(signal)) break;
      const recording = { file, messages, url: target.url };
      if (await done(file, transcribe(recording, options), options)) doneCount++;
    }
  } finally {
    await target?.close();
  }
  return doneCount === files.length ? 0 : 1;
}

/** What came of the work on a file; undefined if it failed: `stderr` says why. Throws what is no fault of file or server. */
async function done<T>(
  file: string,
  work: Promise<T>,
  { stderr }: TranscribeOptions,
): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof TranscriptionError || error instanceof StreamError)) throw error;
    stderr.write(`earwitness: ${describe(error, file)}\n`);
    return undefined;
  }
}

function describe(error: TranscriptionError | StreamError, file: string): string {
  if (error instanceof StreamError && error.code === 'unauthorized') {
    return `${file}: the server lets nobody in without a valid API key or token: give --token or ${TOKEN_VARIABLE}`;
  }
  return error instanceof StreamError ? `${file}: ${error.message} (${error.code})` : error.message;
}

/** `url` as that of the stream: a bare host gets the native protocol's path. Throws `UsageError` if it is no URL. */
export function streamUrl(url: string): string {
  const scheme = /^(https?|wss?):\/\//.exec(url)?.[1];
  if (scheme === undefined || !URL.canParse(url)) {
    throw new UsageError(`--url: expected ws://host:port${STREAM_PATH}, got '${url}'`);
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
  const { startServer } = await import('../gateway.ts');
  const server = await startServer(config, log, { signal });
  try {
    await Promise.race([server.ready, abortOf(signal)]);
  } catch (error) {
    await server.close();
    throw error;
  }
  return { url: streamUrl(server.url), close: () => server.close() };
}

/** A file that has been read, and where it goes. */
interface Recording {
  readonly file: string;
  readonly messages: readonly FileMessage[];
  readonly url: string;
}

/** True when the whole file was transcribed, false when the signal ended it. */
async function transcribe({ file, messages, url }: Recording, options: TranscribeOptions): Promise<boolean> {
  const { token, encoding, format, config, stdout, stderr, signal, clock = systemClock } = options;
  const live = new LiveLine(stderr);
  const first = new FirstConnection({
    url,
    tell: (message) => {
      // An abort closes the socket, which is no failure to tell.
      if (!isAborted(signal)) stderr.write(`earwitness: ${message}\n`);
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
    if (isAborted(signal)) return false;
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
  return true;
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
