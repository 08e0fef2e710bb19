/** A first connection that does not come about: said at once, and given up soon, for nobody has been heard yet. */
import type { EventEmitter } from 'node:events';
import { StreamError } from '../../client/stream_error.ts';
import { FIRST_CONNECTION_MAX_ATTEMPTS } from '../../pipeline/limits.ts';

export interface FirstConnectionOptions {
  readonly url: string;
  /** Called once, at the first attempt that fails. */
  readonly tell: (message: string) => void;
  /** Called after FIRST_CONNECTION_MAX_ATTEMPTS, but not while the server is there and too busy. */
  readonly giveUp: () => void;
}

/** How `ws` words an answer of HTTP 429 or 503: the server is there and asks for patience. */
const BUSY = /: (429|503)$/;

export class FirstConnection {
  readonly #options: FirstConnectionOptions;
  #isMade = false;
  #failureCount = 0;
  #error: StreamError | undefined;

  constructor(options: FirstConnectionOptions) {
    this.#options = options;
  }

  /** Why there is none; undefined until it is given up. */
  get error(): StreamError | undefined {
    return this.#error;
  }

  /** Follows one attempt: a socket of `ws`. */
  watch<Socket extends EventEmitter>(socket: Socket): Socket {
    socket.once('open', () => {
      this.#isMade = true;
    });
    socket.once('error', (error: Error) => {
      if (!this.#isMade) this.#onFailure(error);
    });
    return socket;
  }

  #onFailure(error: Error): void {
    const cause = causeOf(error);
    const { url, tell, giveUp } = this.#options;
    const { protocol, host, pathname } = new URL(url);
    // Neither a query nor a user's name: there may be credentials in them.
    const address = `${protocol}//${host}${pathname}`;
    this.#failureCount++;
    if (this.#failureCount === 1) tell(`no connection to ${address} yet: ${cause}`);
    if (this.#failureCount < FIRST_CONNECTION_MAX_ATTEMPTS || BUSY.test(cause)) return;
    // Only a fault of the network has a code; other servers, and ours where it refuses, do answer.
    const advice = 'code' in error ? '; is the server running there?' : '';
    const text = `no connection to ${address} in ${this.#failureCount} attempts: ${cause}${advice}`;
    this.#error = new StreamError('connection_lost', text, true);
    giveUp();
  }
}

/** Where a name has several addresses, Node's message is empty and its code is that of each. */
function causeOf(error: Error): string {
  if (error.message !== '') return error.message;
  return 'code' in error ? String(error.code) : error.name;
}
