/**
 * The reference client of the native protocol, for browsers and Node, without dependencies. It keeps the audio that
 * the server has not acknowledged and, when a connection is lost, opens another one and sends that audio again: no
 * utterance is lost and no final is repeated.
 */
import { audioDurationMs, type BareAudio } from './audio_duration.ts';
import { platformClock, type Cancel, type ClientClock } from './client_clock.ts';
import { Connection, type ConnectionEnd, type StreamSocket } from './connection.ts';
import { Deferred } from './deferred.ts';
import { Outbox, type Beginning } from './outbox.ts';
import { PROTOCOL_VERSION, type ServerMessage, type StartMessage } from './protocol.ts';
import { DEFAULT_RECONNECT, reconnectDelayMs, type ReconnectPolicy } from './reconnect.ts';
import { SendPace } from './send_pace.ts';
import { StreamError } from './stream_error.ts';
import { ClientEventSource, type ClientEvents, type ClientState } from './stream_events.ts';
import { requestToken, type TokenSource } from './token_source.ts';
import { UtteranceGate } from './utterance_gate.ts';

/** Longest utterance (29 s) and as much again for the time that a reconnect may take. */
const UNACKED_MAX_MS = 60_000;
/** Bytes handed to the socket beyond which audio stays with us, where a reconnect finds it in order. */
const BUFFERED_MAX_BYTES = 64 * 1_024;
/** Sockets do not say when they have room again; they are asked this often. */
const PUMP_RETRY_MS = 50;
/** Kept free below the server's bound on audio ahead of real time: larger than any message. */
const AHEAD_SPARE_MS = 1_000;
/** A connection that lived this long was a success: the next loss starts with the shortest delay. */
const STABLE_MS = 1_000;

export interface StreamClientOptions extends Omit<
  StartMessage,
  'type' | 'version' | 'resume' | 'token' | 'audio'
> {
  /** Not a container: a stream can be resumed only where messages stand for themselves. */
  readonly audio: BareAudio;
  /** `ws://` or `wss://` with the path `/v1/stream`. */
  readonly url: string;
  /**
   * API key or token, or what gets one: it is asked before every connection, so that none is tried with a token that
   * has expired. Never put an API key into a web page: let your server hand out tokens.
   */
  readonly token?: TokenSource;
  /**
   * Where the token goes: into the `handshake` (default), where a server that refuses it does so before there is a
   * connection, or into `start`, where a browser hears why it was refused.
   */
  readonly tokenIn?: 'handshake' | 'start';
  /**
   * Opens a socket; default the platform's `WebSocket`. Node before 22 has none: `(url, protocols) => new WebSocket(url,
   * protocols)` of `ws`. `protocols` are the subprotocols to offer; the credentials are among them.
   */
  readonly createSocket?: (url: string, protocols?: string[]) => StreamSocket;
  /** Audio without an acknowledgement that is kept, in ms; default 60,000. */
  readonly unackedMaxMs?: number;
  readonly reconnect?: ReconnectPolicy;
  readonly clock?: ClientClock;
  /** Jitter of reconnects, in [0, 1). */
  readonly random?: () => number;
}

/** The connection there is, if there is one. */
type Link =
  | { readonly type: 'none' }
  | { readonly type: 'waiting'; readonly cancel: Cancel }
  | { readonly type: 'opening'; readonly connection: Connection }
  | {
      readonly type: 'ready';
      readonly connection: Connection;
      readonly sessionId: string;
      readonly pace: SendPace;
      readonly sinceMs: number;
    };

export class StreamClient {
  readonly #options: StreamClientOptions;
  readonly #clock: ClientClock;
  readonly #events = new ClientEventSource<ClientEvents>();
  readonly #outbox: Outbox;
  readonly #gate = new UtteranceGate();
  readonly #flushes = new Map<string, Deferred>();
  #link: Link = { type: 'none' };
  #state: ClientState = { type: 'idle' };
  #sessionId = '';
  #attempt = 0;
  /** Audio before it is acknowledged, or was said to be lost. */
  #settledAudioMs = 0;
  #flushCount = 0;
  #started: Deferred | undefined;
  #stopped: Deferred | undefined;
  #drained: Deferred | undefined;
  #serverError: StreamError | undefined;
  #cancelPump: Cancel | undefined;

  constructor(options: StreamClientOptions) {
    this.#options = options;
    this.#clock = options.clock ?? platformClock;
    this.#outbox = new Outbox(options.unackedMaxMs ?? UNACKED_MAX_MS);
  }

  get state(): ClientState {
    return this.#state;
  }

  /** Audio given to `send` that has not gone out yet, in ms: grows while there is no connection. */
  get unsentMs(): number {
    return this.#outbox.unsentMs;
  }

  /** Calls `listener` for each event of this name; returns the function that ends that. */
  on<Name extends keyof ClientEvents>(name: Name, listener: (event: ClientEvents[Name]) => void): () => void {
    return this.#events.on(name, listener);
  }

  /** Connects; settles with the first `ready`, or rejects with a `StreamError`. Later calls return the same promise. */
  start(): Promise<void> {
    if (this.#started !== undefined) return this.#started.promise;
    this.#started = new Deferred();
    if (this.#state.type === 'closed') this.#started.reject(closedError());
    else this.#connect();
    return this.#started.promise;
  }

  /**
   * Sends one message of audio, now or as soon as there is a connection; audio given before `start()` is kept. The
   * client owns `bytes` from here on. `durationMs` is that of the message; by default it is read from the Opus
   * header or the length of the PCM. `full` means that it was not taken because twice `unackedMaxMs` wait already:
   * await `drained()`. Throws `RangeError` for a duration that is not a number ≥ 0.
   */
  send(bytes: Uint8Array, options: { readonly durationMs?: number } = {}): 'accepted' | 'full' | 'closed' {
    if (this.#state.type === 'closed' || this.#stopped !== undefined) return 'closed';
    const durationMs = options.durationMs ?? audioDurationMs(this.#options.audio, bytes);
    if (!Number.isFinite(durationMs) || durationMs < 0) {
      throw new RangeError(`durationMs must be a finite number from 0 on, not ${durationMs}`);
    }
    const verdict = this.#outbox.push(bytes, durationMs);
    this.#pump();
    return verdict;
  }

  /** Settles when all audio given so far has gone out; rejects with a `StreamError` if it never will. */
  drained(): Promise<void> {
    if (this.unsentMs === 0) return Promise.resolve();
    if (this.#state.type === 'closed') return Deferred.rejected(closedError());
    this.#drained ??= new Deferred();
    return this.#drained.promise;
  }

  /** Ends the utterance now; settles after every final of the audio so far, or rejects with a `StreamError`. */
  flush(): Promise<void> {
    if (this.#state.type === 'closed' || this.#stopped !== undefined) return Deferred.rejected(closedError());
    const id = String(++this.#flushCount);
    const flushed = new Deferred();
    this.#flushes.set(id, flushed);
    this.#outbox.control({ type: 'flush', id });
    this.#pump();
    return flushed.promise;
  }

  /**
   * Ends the session after every final of the audio so far: settles on `done`, rejects with a `StreamError` if it
   * cannot come. A client that was never started is simply closed. Later calls return the same promise.
   */
  stop(): Promise<void> {
    if (this.#stopped !== undefined) return this.#stopped.promise;
    const stopped = (this.#stopped = new Deferred());
    if (this.#state.type === 'closed') {
      if (this.#state.reason === 'failed') stopped.reject(this.#state.error ?? closedError());
      else stopped.resolve();
    } else if (this.#state.type === 'idle') {
      this.#end({ type: 'closed', reason: 'done' });
    } else {
      this.#outbox.control({ type: 'stop' });
      this.#setState({ type: 'stopping' });
      this.#pump();
    }
    return stopped.promise;
  }

  /** Ends everything at once, without waiting for finals; idempotent. */
  close(): void {
    this.#end({ type: 'closed', reason: 'closed' });
  }

  #connect(): void {
    const { token } = this.#options;
    if (token === undefined || typeof token === 'string') {
      this.#connectWith(token);
      return;
    }
    const cancel = requestToken(token, this.#clock, (answer) => {
      if (typeof answer === 'string') {
        this.#connectWith(answer);
        return;
      }
      this.#serverError = answer;
      this.#reconnect();
    });
    this.#link = { type: 'waiting', cancel };
    this.#showConnecting();
  }

  #connectWith(token: string | undefined): void {
    const beginning = this.#outbox.connect();
    const isInStart = this.#options.tokenIn === 'start';
    const socket = this.#openSocket(isInStart ? undefined : token);
    if (socket === undefined) return;
    const connection = new Connection({
      socket,
      clock: this.#clock,
      start: this.#startMessage(beginning.fromAudioMs, isInStart ? token : undefined),
      onMessage: (message) => {
        this.#onMessage(message);
      },
      onEnd: (end) => {
        this.#onLost(end);
      },
    });
    this.#link = { type: 'opening', connection };
    this.#showConnecting();
    this.#reportForgotten(beginning);
  }

  #showConnecting(): void {
    if (this.#attempt === 0 && this.#state.type !== 'connecting') this.#setState({ type: 'connecting' });
  }

  #openSocket(token: string | undefined): StreamSocket | undefined {
    const { url, createSocket = openPlatformSocket } = this.#options;
    try {
      // The only place in a handshake where a browser lets a page put a credential.
      return token === undefined ? createSocket(url) : createSocket(url, ['bearer', token]);
    } catch (cause) {
      // Not the network (that fails later): the URL, or a platform without WebSocket.
      // Browsers quote a subprotocol that they do not like.
      const why = String(cause).replaceAll(token ?? ' ', token === undefined ? ' ' : '[token]');
      this.#fail(new StreamError('bad_url', `cannot open a socket to ${url}: ${why}`, false));
      return undefined;
    }
  }

  #startMessage(fromAudioMs: number, token: string | undefined): StartMessage {
    const { audio, model, language, partials, endpointing, words } = this.#options;
    const isResumed = this.#sessionId !== '' || fromAudioMs > 0;
    return {
      type: 'start',
      version: PROTOCOL_VERSION,
      audio,
      ...(token === undefined ? {} : { token }),
      ...(model === undefined ? {} : { model }),
      ...(language === undefined ? {} : { language }),
      ...(partials === undefined ? {} : { partials }),
      ...(endpointing === undefined ? {} : { endpointing }),
      ...(words === undefined ? {} : { words }),
      ...(isResumed
        ? {
            // The server counts what it gets from here on, so this is exactly where the first message begins: at
            // the acknowledged position or, if that is inside a message, up to one message before it.
            resume: {
              sessionId: this.#sessionId,
              fromAudioMs,
              nextUtteranceId: this.#gate.nextUtteranceId,
            },
          }
        : {}),
    };
  }

  #onMessage(message: ServerMessage): void {
    switch (message.type) {
      case 'ready':
        this.#onReady(message);
        return;
      case 'speechStart':
        if (this.#gate.admitStart(message)) this.#events.emit('speechStart', message);
        return;
      case 'speechEnd':
        if (this.#gate.admitEnd(message)) this.#events.emit('speechEnd', message);
        return;
      case 'partial': {
        const partial = this.#gate.admitPartial(message);
        if (partial !== undefined) this.#events.emit('partial', partial);
        return;
      }
      case 'final':
        this.#onFinal(message);
        return;
      case 'notice':
        this.#events.emit('notice', message);
        return;
      case 'goAway':
        this.#onGoAway(message);
        return;
      case 'flushed':
        this.#onFlushed(message.id);
        return;
      case 'done':
        this.#end({ type: 'closed', reason: 'done' });
        return;
      case 'error':
        this.#onError(new StreamError(message.code, message.message, message.retryable));
    }
  }

  #onReady(message: Extract<ServerMessage, { type: 'ready' }>): void {
    if (this.#link.type !== 'opening') return;
    const sinceMs = this.#clock.nowMs();
    const { sessionId, limits } = message;
    const { aheadOfRealtimeMaxMs, catchUpRatio } = limits;
    const pace = new SendPace({ maxMs: aheadOfRealtimeMaxMs - AHEAD_SPARE_MS, catchUpRatio }, sinceMs);
    this.#link = { type: 'ready', connection: this.#link.connection, sessionId, pace, sinceMs };
    this.#sessionId = sessionId;
    this.#serverError = undefined;
    this.#setState({ type: 'open', sessionId });
    this.#events.emit('ready', message);
    this.#started?.resolve();
    this.#pump();
  }

  #onFinal(message: Extract<ServerMessage, { type: 'final' }>): void {
    this.#attempt = 0;
    const isNew = this.#gate.admitFinal(message);
    this.#outbox.ack(message.ackedAudioMs);
    this.#settledAudioMs = Math.max(this.#settledAudioMs, message.ackedAudioMs);
    if (isNew) this.#events.emit('final', message);
  }

  #onFlushed(id: string): void {
    this.#outbox.settle(id);
    this.#flushes.get(id)?.resolve();
    this.#flushes.delete(id);
  }

  /** Leaves soon, each client at its own moment: what is said meanwhile is kept. */
  #onGoAway(message: Extract<ServerMessage, { type: 'goAway' }>): void {
    this.#sessionId = message.resume.sessionId;
    this.#events.emit('goAway', message);
    const { firstDelayMs } = this.#options.reconnect ?? DEFAULT_RECONNECT;
    this.#reconnectAfter(this.#random() * firstDelayMs);
  }

  #onError(error: StreamError): void {
    this.#serverError = error;
    if (error.retryable) this.#reconnect();
    else this.#fail(error);
  }

  #onLost(end: ConnectionEnd): void {
    const error = lossError(end);
    if (error.retryable) this.#reconnect();
    else this.#fail(error);
  }

  #reconnect(): void {
    if (this.#link.type === 'ready' && this.#clock.nowMs() - this.#link.sinceMs >= STABLE_MS)
      this.#attempt = 0;
    const policy = this.#options.reconnect ?? DEFAULT_RECONNECT;
    const delayMs = reconnectDelayMs(policy, this.#attempt + 1, this.#random());
    if (delayMs !== undefined) {
      this.#reconnectAfter(delayMs);
      return;
    }
    const text = `no connection after ${policy.maxAttempts} more attempts`;
    this.#fail(this.#serverError ?? new StreamError('connection_lost', text, true));
  }

  #reconnectAfter(delayMs: number): void {
    if (this.#state.type === 'closed') return;
    this.#dropLink();
    this.#attempt++;
    const cancel = this.#clock.after(delayMs, () => {
      this.#connect();
    });
    this.#link = { type: 'waiting', cancel };
    this.#setState({ type: 'reconnecting', attempt: this.#attempt });
  }

  /** Says so when audio was forgotten that no server heard, or that belongs to an utterance without its final. */
  #reportForgotten({ fromAudioMs: toAudioMs, sentAudioMs }: Beginning): void {
    const wantedAudioMs = this.#gate.openSinceAudioMs ?? sentAudioMs;
    const fromAudioMs = Math.max(wantedAudioMs, this.#settledAudioMs);
    if (fromAudioMs >= toAudioMs) return;
    this.#settledAudioMs = toAudioMs;
    this.#events.emit('audioLost', { fromAudioMs, toAudioMs });
  }

  /** Sends what there is to send, as far as socket and server take it. */
  #pump(): void {
    if (this.#link.type !== 'ready' || this.#cancelPump !== undefined) return;
    const { connection, pace } = this.#link;
    for (;;) {
      if (connection.bufferedBytes > BUFFERED_MAX_BYTES || !pace.isOpen(this.#clock.nowMs())) {
        this.#cancelPump = this.#clock.after(PUMP_RETRY_MS, () => {
          this.#cancelPump = undefined;
          this.#pump();
        });
        return;
      }
      const next = this.#outbox.take();
      if (next === undefined) break;
      if (next.type === 'control') {
        connection.sendControl(next.message);
      } else {
        connection.sendAudio(next.audio.bytes);
        pace.add(next.audio.durationMs);
      }
    }
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  #fail(error: StreamError): void {
    this.#end({ type: 'closed', reason: 'failed', error });
  }

  /** The end, whatever it is: every timer is cancelled and every promise settled. */
  #end(state: Extract<ClientState, { type: 'closed' }>): void {
    if (this.#state.type === 'closed') return;
    this.#dropLink();
    this.#state = state;
    this.#events.emit('state', state);
    const error = state.error ?? closedError();
    if (state.reason === 'done') this.#stopped?.resolve();
    for (const deferred of [this.#started, this.#stopped, this.#drained, ...this.#flushes.values()]) {
      deferred?.reject(error);
    }
    this.#flushes.clear();
    if (state.error !== undefined) this.#events.emit('error', state.error);
  }

  #dropLink(): void {
    this.#cancelPump?.();
    this.#cancelPump = undefined;
    const link = this.#link;
    this.#link = { type: 'none' };
    this.#outbox.disconnect();
    if (link.type === 'waiting') link.cancel();
    else if (link.type !== 'none') link.connection.close();
  }

  /** While stopping, reconnects are an inner matter. */
  #setState(state: ClientState): void {
    if (this.#stopped !== undefined && this.#state.type === 'stopping') return;
    this.#state = state;
    this.#events.emit('state', state);
  }

  #random(): number {
    return (this.#options.random ?? Math.random)();
  }
}

function closedError(): StreamError {
  return new StreamError('closed', 'the client is closed', false);
}

/** What a lost connection means: closed for what we did (RFC 6455 section 7.4.1, and 44xx of this server), or by fate. */
function lossError(end: ConnectionEnd): StreamError {
  switch (end.type) {
    case 'timeout':
      return new StreamError('connection_lost', 'the connection does not move', true);
    case 'garbled':
      return new StreamError('bad_message', 'the server sent something that is not this protocol', false);
    case 'closed': {
      const isOurFault =
        [1002, 1003, 1007, 1008, 1009].includes(end.code) || (end.code >= 4400 && end.code < 4500);
      return new StreamError(`close_${end.code}`, `the server closed with code ${end.code}`, !isOurFault);
    }
  }
}

function openPlatformSocket(url: string, protocols?: string[]): StreamSocket {
  const { WebSocket } = globalThis as {
    WebSocket?: new (url: string, protocols?: string[]) => StreamSocket;
  };
  if (WebSocket !== undefined) return new WebSocket(url, protocols);
  throw new TypeError('this platform has no WebSocket; give createSocket');
}
