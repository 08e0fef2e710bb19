/** What a client is owed, in order: a final waits for those of the utterances before it. */
import type { SessionEvent } from './session_events.ts';
import type { Utterance } from './utterance.ts';

export type Delivery =
  | { readonly type: 'utterance'; readonly utterance: Utterance }
  | Extract<SessionEvent, { readonly type: 'flushed' | 'done' }>;

export class DeliveryQueue {
  readonly #deliveries: Delivery[] = [];

  get count(): number {
    return this.#deliveries.length;
  }

  /** The utterance that everything else waits for; undefined if nothing does. */
  get awaited(): Utterance | undefined {
    const [oldest] = this.#deliveries;
    return oldest?.type === 'utterance' && !isReady(oldest) ? oldest.utterance : undefined;
  }

  add(delivery: Delivery): void {
    this.#deliveries.push(delivery);
  }

  /** Takes off the oldest, if it waits for nothing any more. */
  take(): Delivery | undefined {
    const [oldest] = this.#deliveries;
    return oldest !== undefined && isReady(oldest) ? this.#deliveries.shift() : undefined;
  }

  clear(): void {
    this.#deliveries.length = 0;
  }
}

function isReady(delivery: Delivery): boolean {
  return delivery.type !== 'utterance' || delivery.utterance.settled !== undefined;
}
