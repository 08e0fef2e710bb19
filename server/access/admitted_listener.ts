/** A listener in its place in the quota: what it held is given back when its connection has ended. */
import type { ConnectionListener } from '../transport/transport.ts';

export class AdmittedListener implements ConnectionListener {
  readonly #listener: ConnectionListener;
  readonly #giveBack: () => void;

  constructor(listener: ConnectionListener, giveBack: () => void) {
    this.#listener = listener;
    this.#giveBack = giveBack;
  }

  text(message: string): void {
    this.#listener.text(message);
  }

  binary(message: Uint8Array): void {
    this.#listener.binary(message);
  }

  drained(): void {
    this.#listener.drained();
  }

  closed(code: number): void {
    try {
      this.#listener.closed(code);
    } finally {
      this.#giveBack();
    }
  }
}

/** Hears nothing: of a connection that is being closed. */
export const DEAF_LISTENER: ConnectionListener = {
  text: () => undefined,
  binary: () => undefined,
  drained: () => undefined,
  closed: () => undefined,
};
