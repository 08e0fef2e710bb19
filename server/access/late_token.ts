/** A connection whose first message brings its token. What comes while the token is checked waits, bounded. */
import type { Cancel, Clock } from '../../pipeline/clock.ts';
import { AccessError, LimitError, TranscriptionError } from '../../pipeline/errors.ts';
import { HANDSHAKE_MAX_MS, INPUT_OVERHEAD_BYTES, PENDING_TOKEN_MAX_BYTES } from '../../pipeline/limits.ts';
import type { ConnectionListener } from '../transport/transport.ts';

export interface LateTokenOptions {
  readonly clock: Clock;
  /** The credential in the first message; undefined if it has none. Throws `TranscriptionError` if it is no such message. */
  readonly tokenOf: (firstMessage: string) => string | undefined;
  /** Resolves to the listener of the connection from here on. Rejects with an `AccessError`. */
  readonly admit: (token: string) => Promise<ConnectionListener>;
  /** Ends the connection; called at most once. */
  readonly refuse: (error: TranscriptionError) => void;
  /** Told of a failure that is ours. */
  readonly fault: (error: unknown) => void;
  /** Called once, when the wait has ended, whatever the end. */
  readonly onSettled: () => void;
}

type Message = string | Uint8Array;

type State =
  | { readonly type: 'waiting'; readonly cancel: Cancel }
  | { readonly type: 'checking'; readonly held: Message[]; heldBytes: number }
  | { readonly type: 'admitted'; readonly listener: ConnectionListener }
  | { readonly type: 'over' };

export class LateToken implements ConnectionListener {
  readonly #options: LateTokenOptions;
  #state: State;

  constructor(options: LateTokenOptions) {
    this.#options = options;
    const cancel = options.clock.after(HANDSHAKE_MAX_MS, () => {
      this.#refuse(
        new AccessError('unauthorized', `send \`start\` with \`token\` within ${HANDSHAKE_MAX_MS / 1_000} s`),
      );
    });
    this.#state = { type: 'waiting', cancel };
  }

  text(message: string): void {
    this.#push(message);
  }

  binary(message: Uint8Array): void {
    this.#push(message);
  }

  drained(): void {
    if (this.#state.type === 'admitted') this.#state.listener.drained();
  }

  closed(code: number): void {
    const state = this.#state;
    this.#settle({ type: 'over' });
    if (state.type === 'admitted') state.listener.closed(code);
  }

  #push(message: Message): void {
    const state = this.#state;
    switch (state.type) {
      case 'waiting':
        this.#onFirst(message);
        return;
      case 'checking':
        state.held.push(message);
        state.heldBytes += message.length + INPUT_OVERHEAD_BYTES;
        if (state.heldBytes > PENDING_TOKEN_MAX_BYTES) {
          this.#refuse(new LimitError('too_fast', 'wait for `ready` before sending more'));
        }
        return;
      case 'admitted':
        deliver(state.listener, message);
        return;
      case 'over':
    }
  }

  #onFirst(message: Message): void {
    let token: string | undefined;
    try {
      token = typeof message === 'string' ? this.#options.tokenOf(message) : undefined;
    } catch (error) {
      if (!(error instanceof TranscriptionError)) throw error;
      this.#refuse(error);
      return;
    }
    if (token === undefined) {
      this.#refuse(
        new AccessError('unauthorized', 'an API key or a token is needed: send `token` in `start`'),
      );
      return;
    }
    const checking: State = { type: 'checking', held: [message], heldBytes: message.length };
    this.#settle(checking);
    this.#options
      .admit(token)
      .then((listener) => {
        this.#onAdmitted(listener, checking.held);
      })
      .catch((error: unknown) => {
        if (!(error instanceof TranscriptionError)) this.#options.fault(error);
        this.#refuse(
          error instanceof TranscriptionError
            ? error
            : new TranscriptionError('internal', 'the server failed', { retryable: true }),
        );
      });
  }

  #onAdmitted(listener: ConnectionListener, held: readonly Message[]): void {
    if (this.#state.type !== 'checking') {
      // The client left while its token was checked; what was opened for it must hear so.
      listener.closed(1006);
      return;
    }
    this.#settle({ type: 'admitted', listener });
    for (const message of held) deliver(listener, message);
  }

  #refuse(error: TranscriptionError): void {
    if (this.#state.type === 'over') return;
    // An admitted listener still has to hear that its connection has closed.
    if (this.#state.type !== 'admitted') this.#settle({ type: 'over' });
    this.#options.refuse(error);
  }

  #settle(next: State): void {
    const state = this.#state;
    this.#state = next;
    if (state.type === 'waiting') state.cancel();
    const isPending = (type: State['type']): boolean => type === 'waiting' || type === 'checking';
    if (isPending(state.type) && !isPending(next.type)) this.#options.onSettled();
  }
}

function deliver(listener: ConnectionListener, message: Message): void {
  if (typeof message === 'string') listener.text(message);
  else listener.binary(message);
}
