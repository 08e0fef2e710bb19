/** A client of the simulation: follows its script, and remembers what it is told. */
import { ClientRecord } from './client_record.ts';
import type { ClientScript } from './client_script.ts';
import type { ObservedTrack } from './observed_parts.ts';
import { SimConnection } from './sim_connection.ts';
import { serve, type SimClientOptions } from './sim_server.ts';

/** The transport's own close code (RFC 6455 section 7.4.1). */
const GOING_AWAY = 1001;
const FAST_BYTES_PER_MS = 10_000;
const SLOW_BUFFER_BYTES = 600;
const BUFFER_BYTES = 256 * 1_024;

export class SimClient {
  readonly script: ClientScript;
  readonly record: ClientRecord;
  /** Its audio path, once its session is open. */
  track: ObservedTrack | undefined;
  readonly #options: SimClientOptions;
  readonly #connection: SimConnection;
  #state: 'waiting' | 'refused' | 'connected' | 'gone' = 'waiting';

  constructor(options: SimClientOptions) {
    const { script, clock, dice, trace, accuse } = options;
    this.#options = options;
    this.script = script;
    this.record = new ClientRecord(script, accuse);
    const isSlow = script.kind === 'slowReader';
    this.#connection = new SimConnection({
      clock,
      dice,
      readBytesPerMs: isSlow ? dice.magnitude(0.1, 2) : FAST_BYTES_PER_MS,
      bufferMaxBytes: isSlow ? SLOW_BUFFER_BYTES : BUFFER_BYTES,
      onMessage: (message) => {
        trace.note(`client ${script.number} <- ${describe(message)}`);
        this.record.receive(message);
      },
      onClosed: (code, reason) => {
        trace.note(`client ${script.number} closed ${code} ${reason}`);
        this.record.closed({ code, reason });
      },
    });
  }

  get number(): number {
    return this.script.number;
  }

  /** True when there is nothing it still waits for. */
  get isSettled(): boolean {
    return this.#state === 'refused' || this.#state === 'gone' || this.record.ending !== undefined;
  }

  get wasRefused(): boolean {
    return this.#state === 'refused';
  }

  /** True when the server holds nothing of it: never let in, or its connection has ended. */
  get isDisconnected(): boolean {
    return this.#state === 'refused' || this.#connection.hasEnded;
  }

  get hasVanished(): boolean {
    return this.#state === 'gone';
  }

  /** True when something it sent has arrived and waits to be read. */
  get hasUnread(): boolean {
    return this.#connection.hasUnread;
  }

  connect(): void {
    const { clock, refusal, trace, script } = this.#options;
    if (this.#state === 'refused') return;
    const reason = refusal();
    trace.note(`client ${this.number} (${script.kind}) connects: ${reason ?? 'accepted'}`);
    if (reason !== undefined) {
      this.#state = 'refused';
      return;
    }
    this.#state = 'connected';
    serve(this.#connection, this.#options, {
      owner: this,
      start: script.startsByQuery ? script.start : undefined,
      onClosed: (code) => {
        trace.note(`connection ${this.number} closed ${code}`);
      },
    });
    this.#follow(0, clock.nowMs());
  }

  /** The server's transport closes, and lets nobody in any more. */
  cutOff(): void {
    if (this.#state === 'waiting') this.#state = 'refused';
    this.#connection.close(GOING_AWAY, '');
  }

  /** Acts when the time has come, one action after the other. */
  #follow(index: number, sinceMs: number): void {
    const next = this.script.actions[index];
    if (next === undefined) return;
    this.#options.clock.at(sinceMs + next.atMs, 'outside', () => {
      if (this.isSettled) return;
      this.#act(next.action);
      this.#follow(index + 1, sinceMs);
    });
  }

  #act(action: ClientScript['actions'][number]['action']): void {
    switch (action.type) {
      case 'audio':
        this.#connection.push(action.bytes);
        return;
      case 'text':
        this.#options.trace.note(`client ${this.number} -> ${action.text.slice(0, 80)}`);
        this.#connection.push(action.text);
        return;
      case 'vanish':
        this.#options.trace.note(`client ${this.number} vanishes`);
        this.#state = 'gone';
        this.#connection.vanish(action.halfOpen);
    }
  }
}

/** A message as one line; a session's id is random and stays out. */
function describe(message: object): string {
  return JSON.stringify(message, (key, value: unknown) => (key === 'sessionId' ? undefined : value));
}
