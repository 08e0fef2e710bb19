/**
 * A server that transcribes nothing and answers when it is told to: what it hears are tones, each of which stands for
 * a text by its loudness. It knows by itself how long each of its answers took.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocketServer, type WebSocket } from 'ws';
import { msToSamples } from '../../pipeline/audio.ts';
import { wavOf } from './wav.ts';

const MESSAGE_MS = 20;
const LOUDNESS_STEP = 1_000;
/** The end of an utterance is told this long before its final. */
const ENDPOINT_LEAD_MS = 40;

/** Recordings of tones with these texts, in a folder that `remove` takes away. */
export async function toneFolder(
  texts: readonly string[],
): Promise<{ readonly path: string; readonly remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'earwitness-tones-'));
  for (const [i, text] of texts.entries()) {
    const pcm = new Int16Array(msToSamples(400 + 40 * i)).fill((i + 1) * LOUDNESS_STEP);
    await writeFile(join(path, `${i}.wav`), wavOf(pcm));
    await writeFile(join(path, 'refs.tsv'), `${i}.wav\t${text}\n`, { flag: 'a' });
  }
  return { path, remove: () => rm(path, { recursive: true }) };
}

export interface StubOptions {
  readonly texts: readonly string[];
  /** From the last message with sound to the final of the nth utterance of all. */
  readonly delayMsOf: (nth: number) => number;
  /** Answers the nth attempt to connect with a refusal. */
  readonly refusalOf?: (nth: number) => { readonly status: number; readonly retryAfter?: string } | undefined;
  readonly dialect?: 'native' | 'deepgram';
}

export class StubServer {
  /** How long each final took from when the last sound of its tone was due; of sessions that have ended. */
  readonly delaysMs: number[] = [];
  /** The requests that came, refused ones too. */
  readonly requests: IncomingMessage[] = [];
  readonly #options: StubOptions;
  readonly #http: Server = createServer();
  readonly #webSockets = new WebSocketServer({ noServer: true });
  #stalledUntilMs = 0;
  #utteranceCount = 0;

  private constructor(options: StubOptions) {
    this.#options = options;
  }

  static async start(options: StubOptions): Promise<StubServer> {
    const server = new StubServer(options);
    server.#http.on('upgrade', (request, socket, head) => {
      server.requests.push(request);
      const refusal = options.refusalOf?.(server.requests.length - 1);
      if (refusal === undefined) {
        server.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
          server.#serve(webSocket, new URL(request.url ?? '/', 'ws://stub'));
        });
        return;
      }
      const { status, retryAfter } = refusal;
      const header = retryAfter === undefined ? '' : `Retry-After: ${retryAfter}\r\n`;
      socket.end(`HTTP/1.1 ${status} Refused\r\n${header}Content-Length: 0\r\nConnection: close\r\n\r\n`);
    });
    server.#http.listen(0, '127.0.0.1');
    await once(server.#http, 'listening');
    return server;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** Sessions that are open. */
  get openCount(): number {
    return this.#webSockets.clients.size;
  }

  /** Reads nothing and says nothing for a while, as if its process stood still. */
  async stall(ms: number): Promise<void> {
    this.#stalledUntilMs = performance.now() + ms;
    for (const client of this.#webSockets.clients) client.pause();
    await pause(ms);
    for (const client of this.#webSockets.clients) client.resume();
  }

  /** Cuts every connection. */
  cut(): void {
    for (const client of this.#webSockets.clients) client.terminate();
  }

  async close(): Promise<void> {
    this.cut();
    this.#webSockets.close();
    this.#http.close();
    await once(this.#http, 'close');
  }

  #serve(socket: WebSocket, url: URL): void {
    const session = new StubSession(url, this.#options, {
      send: (message) => {
        this.#sendWhenAwake(socket, message);
      },
      end: (last) => {
        this.#sendWhenAwake(socket, last);
        setTimeout(() => {
          socket.close(1_000);
        }, this.#stallLeftMs());
      },
      nextDelayMs: () => this.#options.delayMsOf(this.#utteranceCount++),
      answered: (delayMs) => {
        this.delaysMs.push(delayMs);
      },
    });
    socket.on('message', (data: Buffer, isBinary) => {
      if (isBinary) session.hear(data);
      else session.control(data.toString());
    });
  }

  #stallLeftMs(): number {
    return Math.max(0, this.#stalledUntilMs - performance.now());
  }

  #sendWhenAwake(socket: WebSocket, message: object): void {
    const send = (): void => {
      if (socket.readyState === socket.OPEN) socket.send(JSON.stringify(message));
    };
    const leftMs = this.#stallLeftMs();
    if (leftMs > 0) setTimeout(send, leftMs);
    else send();
  }
}

interface StubPort {
  readonly send: (message: object) => void;
  readonly end: (last: object) => void;
  readonly nextDelayMs: () => number;
  readonly answered: (delayMs: number) => void;
}

interface Tone {
  readonly utteranceId: number;
  readonly text: string;
  readonly startAudioMs: number;
}

/** One connection: tones become utterances. */
class StubSession {
  readonly #options: StubOptions;
  readonly #port: StubPort;
  /** When position 0 of the audio was due: no message can have come before its time, and the promptest tells it. */
  #originAtMs = Infinity;
  readonly #answers: { readonly sentAtMs: number; readonly endAudioMs: number }[] = [];
  #audioMs: number;
  #nextUtteranceId: number;
  #tone: Tone | undefined;
  #heardAtMs = 0;
  #owedCount = 0;
  #isStopping = false;

  constructor(url: URL, options: StubOptions, port: StubPort) {
    this.#options = options;
    this.#port = port;
    this.#audioMs = Number(url.searchParams.get('resume.fromAudioMs') ?? 0);
    this.#nextUtteranceId = Number(url.searchParams.get('resume.nextUtteranceId') ?? 1);
    if (!this.#isDeepgram) port.send({ type: 'ready', sessionId: 'stub' });
  }

  get #isDeepgram(): boolean {
    return this.#options.dialect === 'deepgram';
  }

  /** One message of 20 ms of 16 kHz PCM. */
  hear(message: Buffer): void {
    const loudness = message.readInt16LE(0);
    if (loudness > 0 && this.#tone === undefined) {
      const text = this.#options.texts[loudness / LOUDNESS_STEP - 1];
      assert(text !== undefined, `no tone is as loud as ${loudness}`);
      this.#tone = { utteranceId: this.#nextUtteranceId++, text, startAudioMs: this.#audioMs };
      this.#begin(this.#tone);
    }
    if (loudness > 0) this.#heardAtMs = performance.now();
    else if (this.#tone !== undefined) this.#end(this.#tone);
    this.#audioMs += MESSAGE_MS;
    this.#originAtMs = Math.min(this.#originAtMs, performance.now() - this.#audioMs);
  }

  control(text: string): void {
    const { type } = JSON.parse(text) as { type: string };
    if (type !== 'stop' && type !== 'CloseStream') return;
    this.#isStopping = true;
    this.#endIfNothingIsOwed();
  }

  #begin({ utteranceId, startAudioMs }: Tone): void {
    const span = { startAudioMs, endAudioMs: startAudioMs };
    if (this.#isDeepgram) {
      this.#port.send({ type: 'SpeechStarted', channel: [0], timestamp: startAudioMs / 1_000 });
      this.#port.send(this.#results({ startAudioMs, endAudioMs: startAudioMs, text: '', isFinal: false }));
    } else {
      this.#port.send({ type: 'speechStart', utteranceId, audioMs: startAudioMs });
      this.#port.send({ type: 'partial', utteranceId, revision: 1, text: '', stableLength: 0, ...span });
    }
  }

  #end({ utteranceId, text, startAudioMs }: Tone): void {
    this.#tone = undefined;
    this.#owedCount++;
    const heardAtMs = this.#heardAtMs;
    const endAudioMs = this.#audioMs;
    const delayMs = this.#port.nextDelayMs();
    const dueInMs = (leadMs: number): number => heardAtMs + delayMs - leadMs - performance.now();
    if (!this.#isDeepgram) {
      setTimeout(() => {
        this.#port.send({ type: 'speechEnd', utteranceId, audioMs: endAudioMs });
      }, dueInMs(ENDPOINT_LEAD_MS));
    }
    setTimeout(() => {
      this.#answers.push({ sentAtMs: performance.now(), endAudioMs });
      const span = { startAudioMs, endAudioMs, ackedAudioMs: endAudioMs };
      this.#port.send(
        this.#isDeepgram
          ? this.#results({ startAudioMs, endAudioMs, text, isFinal: true })
          : { type: 'final', utteranceId, text, ...span },
      );
      this.#owedCount--;
      this.#endIfNothingIsOwed();
    }, dueInMs(0));
  }

  #results(of: {
    readonly startAudioMs: number;
    readonly endAudioMs: number;
    readonly text: string;
    readonly isFinal: boolean;
  }): object {
    return {
      type: 'Results',
      channel_index: [0, 1],
      start: of.startAudioMs / 1_000,
      duration: (of.endAudioMs - of.startAudioMs) / 1_000,
      is_final: of.isFinal,
      speech_final: of.isFinal,
      channel: { alternatives: [{ transcript: of.text, confidence: 1, words: [] }] },
    };
  }

  #endIfNothingIsOwed(): void {
    if (!this.#isStopping || this.#owedCount > 0) return;
    for (const { sentAtMs, endAudioMs } of this.#answers)
      this.#port.answered(sentAtMs - endAudioMs - this.#originAtMs);
    this.#port.end(this.#isDeepgram ? { type: 'Metadata' } : { type: 'done' });
  }
}
