/** Between a transport and a listener: what a listener throws stays with its connection, and `closed` comes once and last. */
import assert from 'node:assert/strict';
import type { ConnectionListener } from './transport.ts';

interface ListenerGuardOptions {
  readonly fault: (error: unknown) => void;
  /** Closes the connection whose listener threw; it must call `finish`. */
  readonly closeFaulty: () => void;
}

export class ListenerGuard {
  readonly #options: ListenerGuardOptions;
  #listener: ConnectionListener | undefined;
  #isFinished = false;

  constructor(options: ListenerGuardOptions) {
    this.#options = options;
  }

  /** Makes the listener; if that throws there is none. */
  attach(create: () => ConnectionListener): void {
    this.#run(() => {
      this.#listener = create();
    });
  }

  text(message: string): void {
    this.#tell((listener) => {
      listener.text(message);
    });
  }

  binary(message: Uint8Array): void {
    this.#tell((listener) => {
      listener.binary(message);
    });
  }

  drained(): void {
    this.#tell((listener) => {
      listener.drained();
    });
  }

  /** Nothing reaches the listener after this but one `closed`, once the caller has returned. */
  finish(code: number): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    queueMicrotask(() => {
      this.#run(() => this.#listener?.closed(code));
    });
  }

  #tell(call: (listener: ConnectionListener) => void): void {
    const listener = this.#listener;
    if (this.#isFinished || listener === undefined) return;
    this.#run(() => {
      call(listener);
    });
  }

  #run(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#options.fault(error);
      this.#options.closeFaulty();
    }
  }
}

/** Close code of a connection whose listener threw (RFC 6455 section 7.4.1), and the reason that goes with it. */
export const FAULT_CLOSE = { code: 1011, reason: 'internal' } as const;
/** Close code and reason of the connections that are left when the server ends. */
export const GOING_AWAY_CLOSE = { code: 1001, reason: 'going away' } as const;
/** What `closed` gets when there was no close frame. */
export const NO_CLOSE_FRAME = 1006;

/** A control frame has 125 bytes at most, two of them for the code (RFC 6455 section 5.5). */
const REASON_MAX_BYTES = 123;

/** A close reason cut to what fits into the frame, never inside a character. Asserts that the code may be sent. */
export function closeReason(code: number, reason: string): string {
  assert(
    (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999),
  );
  const bytes = Buffer.from(reason);
  if (bytes.length <= REASON_MAX_BYTES) return reason;
  let end = REASON_MAX_BYTES;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}
