/** A socket of the simulation as the client library sees it, with the server at its other end. */
import type { StreamSocket } from '../../client/connection.ts';
import type { ClientMessage, StartMessage } from '../../client/protocol.ts';
import type { Dice } from './dice.ts';
import type { ObservedTrack, TrackOwner } from './observed_parts.ts';
import type { SimClock } from './sim_clock.ts';
import { SimConnection } from './sim_connection.ts';
import { serve, type SimServer } from './sim_server.ts';

export interface SimSocketOptions extends SimServer {
  readonly clock: SimClock;
  readonly dice: Dice;
  /** Told of what a connection begins with. */
  readonly onStart: (start: StartMessage, firstPacket: Uint8Array) => void;
}

type Event = { readonly data: string } & { readonly code: number };
const ABNORMAL = 1006;
const FAST_BYTES_PER_MS = 10_000;
const BUFFER_BYTES = 256 * 1_024;

export class SimSocket implements StreamSocket, TrackOwner {
  readonly bufferedAmount = 0;
  track: ObservedTrack | undefined;
  readonly #options: SimSocketOptions;
  readonly #connection: SimConnection;
  readonly #listeners = new Map<string, ((event: Event) => void)[]>();
  #start: StartMessage | undefined;
  #state: 'connecting' | 'open' | 'closed' = 'connecting';
  #isKnown = false;

  constructor(options: SimSocketOptions) {
    const { clock, dice } = options;
    this.#options = options;
    this.#connection = new SimConnection({
      ...{ clock, dice, readBytesPerMs: FAST_BYTES_PER_MS, bufferMaxBytes: BUFFER_BYTES },
      onMessage: (message) => {
        if (this.#state === 'open') this.#emit('message', { data: JSON.stringify(message), code: 0 });
      },
      onClosed: (code) => {
        this.#close(code);
      },
    });
    clock.at(clock.nowMs() + dice.magnitude(1, 50), 'read', () => {
      this.#meetServer();
    });
  }

  get number(): string {
    return 'of the library';
  }

  get hasUnread(): boolean {
    return this.#connection.hasUnread;
  }

  /** True when the server holds nothing of it. */
  get hasEnded(): boolean {
    return !this.#isKnown || this.#connection.hasEnded;
  }

  addEventListener(type: string, listener: (event: Event) => void): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  send(content: string | Uint8Array): void {
    if (this.#state !== 'open') return;
    if (typeof content === 'string') {
      const message = JSON.parse(content) as ClientMessage;
      if (message.type === 'start') this.#start = message;
    } else if (this.#start !== undefined) {
      this.#options.onStart(this.#start, content);
      this.#start = undefined;
    }
    this.#connection.push(typeof content === 'string' ? content : content.slice());
  }

  close(): void {
    this.cut(false);
  }

  /** The connection breaks; the server learns of it, or (`halfOpen`) does not. */
  cut(halfOpen: boolean): void {
    if (this.#state === 'closed') return;
    if (this.#isKnown) this.#connection.vanish(halfOpen);
    this.#close(ABNORMAL);
  }

  #meetServer(): void {
    if (this.#state === 'closed') return;
    if (this.#options.refusal() !== undefined) {
      this.#close(ABNORMAL);
      return;
    }
    this.#isKnown = true;
    this.#state = 'open';
    serve(this.#connection, this.#options, { owner: this });
    this.#emit('open', { data: '', code: 0 });
  }

  #close(code: number): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#emit('close', { data: '', code });
  }

  #emit(type: string, event: Event): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(event);
  }
}
