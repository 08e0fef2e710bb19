/**
 * One session of a load test. Message n of its audio is due at an absolute time, whatever happened before; what the
 * server does can delay a message, but never leave one out or move those that follow.
 */
import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import type { Clock } from '../../pipeline/clock.ts';
import {
  LOAD_BACKLOG_MAX_MS,
  LOAD_FINISH_MAX_MS,
  LOAD_INTERRUPTED_FINISH_MAX_MS,
  LOAD_OPEN_MAX_MS,
  LOAD_RECONNECT_MAX_MS,
  LOAD_RECONNECT_MIN_MS,
  LOAD_RECONNECTS_MAX_COUNT,
  LOAD_REFUSALS_MAX_COUNT,
  LOAD_RETRY_AFTER_MAX_MS,
  LOAD_UNSENT_MAX_BYTES,
} from '../../pipeline/limits.ts';
import type { Latencies } from './latencies.ts';
import type { DialectReader, HeardEvent, LoadDialect } from './load_dialect.ts';
import type { LoadEncoding, SessionSlot } from './load_plan.ts';
import { SessionHearing } from './session_hearing.ts';
import type { SessionOutcome, SessionRecord } from './session_record.ts';
import type { SessionScript } from './session_script.ts';
import { MESSAGE_MS } from './speech_material.ts';

export interface LoadSessionOptions {
  readonly slot: SessionSlot;
  readonly script: SessionScript;
  readonly dialect: LoadDialect;
  /** The server's address with the path. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly encoding: LoadEncoding;
  readonly retriesRefusals: boolean;
  readonly clock: Clock;
  /** The clock's time at which the load began. */
  readonly originMs: number;
  /** How late each message is, is counted here. */
  readonly lateness: Latencies;
  /** Times between news of what is said are counted here. */
  readonly partialGaps: Latencies;
  /** Called when `dueAtMs` came nearer, or the session ended. */
  readonly onChange: () => void;
}

type SessionState = 'waiting' | 'opening' | 'speaking' | 'stopping' | 'ended';

/** Answers that ask for patience: too many sessions, overloaded, not ready, draining. */
const REFUSALS: readonly number[] = [429, 503];

export class LoadSession {
  readonly #options: LoadSessionOptions;
  readonly #hearing: SessionHearing;
  readonly #refusals: number[] = [];
  #state: SessionState = 'waiting';
  /** By the clock; the session wants `step` then. */
  #dueAtMs: number;
  #attemptAtMs: number;
  #openedAtMs: number | undefined;
  #socket: WebSocket | undefined;
  #reader: DialectReader;
  #nextMessage = 0;
  /** Messages before this one were late before they could be sent: a connection was lost. */
  #backlogEnd = 0;
  #connectedAtMs = 0;
  #connectedFrom = 0;
  #connectionCount = 0;
  #finalCount = 0;
  /** Connections lost since the last final. */
  #lossCount = 0;
  #isInterrupted = false;
  #lastError: Extract<HeardEvent, { type: 'error' }> | undefined;
  #record: SessionRecord | undefined;

  constructor(options: LoadSessionOptions) {
    this.#options = options;
    this.#hearing = new SessionHearing(options.script.sentences, options.partialGaps);
    this.#dueAtMs = this.#attemptAtMs = options.originMs + options.slot.beginAtMs;
    this.#reader = options.dialect.createReader({ audioMs: 0, nextUtteranceId: 1 });
  }

  get dueAtMs(): number {
    return this.#dueAtMs;
  }

  get isOpen(): boolean {
    return this.#state === 'speaking' || this.#state === 'stopping';
  }

  get finalCount(): number {
    return this.#finalCount;
  }

  /** What there is to judge the session by, once it has ended. */
  get record(): SessionRecord | undefined {
    return this.#record;
  }

  /** Does what is due. */
  step(nowMs: number): void {
    switch (this.#state) {
      case 'waiting':
        this.#connect(nowMs);
        return;
      case 'opening':
        this.#end('failed', `not opened within ${LOAD_OPEN_MAX_MS} ms`);
        return;
      case 'speaking':
        this.#speak(nowMs);
        return;
      case 'stopping':
        this.#end(this.#isInterrupted ? 'interrupted' : 'failed', 'no end in time after its last audio');
        return;
      case 'ended':
        return;
    }
  }

  /** Stops speaking and asks for what is owed; a session that is not open ends at once. */
  interrupt(): void {
    this.#isInterrupted = true;
    if (this.#state === 'speaking') this.#stop(this.#options.clock.nowMs());
    else if (this.#state === 'stopping') {
      this.#dueAtMs = Math.min(this.#dueAtMs, this.#options.clock.nowMs() + LOAD_INTERRUPTED_FINISH_MAX_MS);
      this.#options.onChange();
    } else this.#end('interrupted', 'interrupted');
  }

  #connect(nowMs: number): void {
    const { dialect, url, headers, encoding, clock } = this.#options;
    this.#state = 'opening';
    this.#dueAtMs = nowMs + LOAD_OPEN_MAX_MS;
    const { position } = this.#reader;
    // A message that is acknowledged in part is sent again whole.
    this.#connectedFrom = dialect.resumes ? Math.floor(position.audioMs / MESSAGE_MS) : this.#nextMessage;
    const from = { ...position, audioMs: this.#connectedFrom * MESSAGE_MS };
    this.#reader = dialect.createReader(from);
    this.#lastError = undefined;
    const query = new URLSearchParams(dialect.query(encoding, from)).toString();
    const socket = new WebSocket(`${url}?${query}`, { perMessageDeflate: false, headers });
    this.#socket = socket;
    socket.on('open', () => {
      if (!dialect.saysReady) this.#onReady();
    });
    socket.on('message', (bytes: Buffer) => {
      const atMs = clock.nowMs();
      for (const event of this.#read(bytes)) this.#onEvent(event, atMs);
    });
    socket.on('unexpected-response', (request, response) => {
      request.destroy();
      if (socket === this.#socket) this.#onRefused(response);
    });
    // A `close` follows; where there is nobody to connect to, this tells why.
    socket.on('error', (error: Error & { readonly code?: string }) => {
      if (socket !== this.#socket || this.#state !== 'opening') return;
      this.#lastError = { type: 'error', code: error.code ?? error.message, isRetryable: true };
    });
    socket.on('close', (code) => {
      if (socket === this.#socket) this.#onClosed(code);
    });
  }

  #read(bytes: Buffer): readonly HeardEvent[] {
    try {
      return this.#reader.read(bytes.toString('utf8'));
    } catch {
      this.#end('failed', 'a message that makes no sense');
      return [];
    }
  }

  #onReady(): void {
    const nowMs = this.#options.clock.nowMs();
    this.#openedAtMs ??= nowMs;
    this.#connectionCount++;
    this.#connectedAtMs = nowMs;
    this.#nextMessage = this.#connectedFrom;
    this.#backlogEnd = Math.floor((nowMs - this.#openedAtMs) / MESSAGE_MS);
    this.#state = 'speaking';
    this.#dueAtMs = nowMs;
    this.#options.onChange();
  }

  #onEvent(event: HeardEvent, nowMs: number): void {
    if (this.#state === 'ended') return;
    const { originMs } = this.#options;
    this.#hearing.note({ event, atMs: nowMs - originMs }, (this.#openedAtMs ?? nowMs) - originMs);
    if (event.type === 'ready') this.#onReady();
    else if (event.type === 'final') {
      this.#lossCount = 0;
      this.#finalCount++;
    } else if (event.type === 'error') this.#lastError = event;
    else if (event.type === 'done' && this.#state === 'stopping') {
      this.#end(this.#isInterrupted ? 'interrupted' : 'done', this.#isInterrupted ? 'interrupted' : '');
    }
  }

  /** Sends every message that is due. */
  #speak(nowMs: number): void {
    const { script, lateness } = this.#options;
    const socket = this.#socket;
    // After a reconnect as much as the server takes, and never more than it reads.
    const sendable = Math.floor((nowMs - this.#connectedAtMs + LOAD_BACKLOG_MAX_MS) / MESSAGE_MS);
    for (; this.#nextMessage < this.#messageCount; this.#nextMessage++) {
      const dueAtMs = (this.#openedAtMs ?? nowMs) + (this.#nextMessage + 1) * MESSAGE_MS;
      if (dueAtMs > nowMs) {
        this.#dueAtMs = dueAtMs;
        return;
      }
      const isHeldBack = this.#nextMessage - this.#connectedFrom >= sendable;
      if (isHeldBack || (socket?.bufferedAmount ?? 0) > LOAD_UNSENT_MAX_BYTES) {
        this.#dueAtMs = nowMs + MESSAGE_MS;
        return;
      }
      if (this.#nextMessage >= this.#backlogEnd) lateness.record(nowMs - dueAtMs);
      socket?.send(script.message(this.#nextMessage));
    }
    this.#stop(nowMs);
  }

  /** A session that came late, because it was refused before, ends with its slot all the same. */
  get #messageCount(): number {
    const { script, slot, originMs } = this.#options;
    const leftMs = originMs + slot.endAtMs - this.#attemptAtMs;
    return Math.min(script.messageCount, Math.max(0, Math.floor(leftMs / MESSAGE_MS)));
  }

  #stop(nowMs: number): void {
    this.#state = 'stopping';
    this.#dueAtMs = nowMs + (this.#isInterrupted ? LOAD_INTERRUPTED_FINISH_MAX_MS : LOAD_FINISH_MAX_MS);
    this.#socket?.send(this.#options.dialect.stopMessage);
  }

  #onRefused(response: IncomingMessage): void {
    const { retriesRefusals, clock } = this.#options;
    const status = response.statusCode ?? 0;
    if (!REFUSALS.includes(status)) {
      this.#end('failed', `HTTP ${status}`);
      return;
    }
    this.#refusals.push(status);
    const isGivenUp = !retriesRefusals || this.#refusals.length > LOAD_REFUSALS_MAX_COUNT;
    if (isGivenUp && this.#openedAtMs === undefined) {
      this.#end('refused', `HTTP ${status}`);
      return;
    }
    const retryAfterMs = Number(response.headers['retry-after'] ?? 1) * 1_000;
    const waitMs = Math.min(Number.isFinite(retryAfterMs) ? retryAfterMs : 1_000, LOAD_RETRY_AFTER_MAX_MS);
    this.#await(clock.nowMs() + waitMs);
    if (this.#openedAtMs === undefined) this.#attemptAtMs = this.#dueAtMs;
  }

  #onClosed(code: number): void {
    const error = this.#lastError;
    const reason = error === undefined ? `closed with ${code}` : error.code;
    this.#lossCount++;
    const mayReconnect = error?.isRetryable !== false && this.#lossCount <= LOAD_RECONNECTS_MAX_COUNT;
    // Nothing was ever heard from there: nobody to come back to.
    if (!mayReconnect || this.#connectionCount === 0) this.#end('failed', reason);
    else if (this.#isInterrupted) this.#end('interrupted', reason);
    else {
      const backOffMs = LOAD_RECONNECT_MIN_MS * 2 ** (this.#lossCount - 1);
      this.#await(this.#options.clock.nowMs() + Math.min(backOffMs, LOAD_RECONNECT_MAX_MS));
    }
  }

  #await(untilMs: number): void {
    this.#socket = undefined;
    this.#state = 'waiting';
    this.#dueAtMs = untilMs;
    this.#options.onChange();
  }

  #end(outcome: SessionOutcome, reason: string): void {
    if (this.#state === 'ended') return;
    const { slot, script, originMs, clock, onChange } = this.#options;
    const socket = this.#socket;
    this.#socket = undefined;
    this.#state = 'ended';
    this.#dueAtMs = Infinity;
    if (outcome === 'done') socket?.close(1_000);
    else socket?.terminate();
    const endedAtMs = clock.nowMs() - originMs;
    const openedAtMs = this.#openedAtMs === undefined ? undefined : this.#openedAtMs - originMs;
    // Where the server failed, people would have gone on speaking until then.
    const saidMs =
      outcome === 'failed' ? endedAtMs - (openedAtMs ?? endedAtMs) : this.#nextMessage * MESSAGE_MS;
    this.#hearing.end(saidMs, openedAtMs ?? endedAtMs);
    const cut = script.sentences.findIndex((sentence) => sentence.endAudioMs > saidMs);
    this.#record = {
      ...{ index: slot.index, outcome, reason, openedAtMs, endedAtMs },
      openMs: this.#openedAtMs === undefined ? undefined : this.#openedAtMs - this.#attemptAtMs,
      sentences: cut < 0 ? script.sentences : script.sentences.slice(0, cut),
      judgedAudioMs: script.sentences[cut]?.startAudioMs ?? Infinity,
      heard: this.#hearing.heard,
      refusals: this.#refusals,
      reconnectCount: Math.max(0, this.#connectionCount - 1),
    };
    onChange();
  }
}
