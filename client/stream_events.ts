/** What a client tells its listeners. */
import type {
  FinalMessage,
  GoAwayMessage,
  NoticeMessage,
  PartialMessage,
  ReadyMessage,
  SpeechEndMessage,
  SpeechStartMessage,
} from './protocol.ts';
import type { StreamError } from './stream_error.ts';

/** Where a client is in its life. `closed` is the end: a client is not started twice. */
export type ClientState =
  | { readonly type: 'idle' }
  | { readonly type: 'connecting' }
  | { readonly type: 'open'; readonly sessionId: string }
  /** The connection was lost; `attempt` (1, 2 …) to get a new one waits or is under way. */
  | { readonly type: 'reconnecting'; readonly attempt: number }
  /** `stop()` was called and its `done` is awaited, through reconnects if need be. */
  | { readonly type: 'stopping' }
  | { readonly type: 'closed'; readonly reason: 'done' | 'closed' | 'failed'; readonly error?: StreamError };

/** Audio that no server will ever hear: it was forgotten, at the ring's bound, before it could be sent (again). */
export interface AudioLost {
  readonly fromAudioMs: number;
  readonly toAudioMs: number;
}

/** Events by name. Every utterance id has at most one `speechStart`, `speechEnd` and `final`. */
export interface ClientEvents {
  readonly state: ClientState;
  /** A connection is open; also after each reconnect. */
  readonly ready: ReadyMessage;
  readonly speechStart: SpeechStartMessage;
  readonly speechEnd: SpeechEndMessage;
  readonly partial: PartialMessage;
  readonly final: FinalMessage;
  readonly notice: NoticeMessage;
  /** The server is going away; the client reconnects by itself. */
  readonly goAway: GoAwayMessage;
  readonly audioLost: AudioLost;
  /** The session has ended and there was no `done`; the state is `closed`. */
  readonly error: StreamError;
}

type Listener<T> = (event: T) => void;

/** Calls listeners in the order they came. One that throws does not harm the others: its error surfaces globally. */
export class ClientEventSource<Events> {
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>();

  /** Returns the function that ends the subscription; calling it again does nothing. */
  on<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        (listener as Listener<Events[Name]>)(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
