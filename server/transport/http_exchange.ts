/** One request over HTTP, the same on both transports: judged by its head, then read, then answered. It ends once. */
import type { BodyBudget } from './body_budget.ts';
import { consult } from './consultation.ts';
import { announcedBodyBytes, BODIES_FULL, checkedHttpAnswer, FAULT_ANSWER } from './request_head.ts';
import type { BodyReceiver, HttpAnswer, HttpVerdict, RequestHead, TransportEvents } from './transport.ts';
import type { TransportOptions } from './transport_bounds.ts';

/** How a library carries one request. None of it is called once the exchange has ended. */
export interface HttpWire {
  readonly head: RequestHead;
  /** Reads the body, of which nothing has been taken before, and gives it whole; of a client that leaves it gives nothing. */
  readonly read: (onBody: (body: Uint8Array) => void) => void;
  readonly write: (answer: HttpAnswer) => void;
  /** Cuts the connection. */
  readonly cut: () => void;
}

/** What the exchanges of a transport have in common. */
export interface HttpExchangeOptions extends TransportOptions {
  readonly bodies: BodyBudget;
  readonly events: TransportEvents;
}

export class HttpExchange {
  readonly #wire: HttpWire;
  readonly #options: HttpExchangeOptions;
  readonly #ending = new AbortController();

  constructor(wire: HttpWire, options: HttpExchangeOptions) {
    this.#wire = wire;
    this.#options = options;
  }

  /** Asks the owner, who sees the head alone. */
  begin(): void {
    const request = { ...this.#wire.head, ended: this.#ending.signal };
    this.#consult<HttpVerdict>(
      {
        ask: () => this.#options.events.http(request),
        check: (verdict) => (typeof verdict === 'function' ? verdict : checkedHttpAnswer(verdict)),
      },
      (verdict) => {
        if (typeof verdict === 'function') this.#receive(verdict);
        else this.answer(verdict);
      },
    );
  }

  answer(answer: HttpAnswer): void {
    if (this.#ending.signal.aborted) return;
    this.#wire.write(answer);
    this.end();
  }

  /** Nobody waits for an answer any more. Idempotent. */
  end(): void {
    this.#ending.abort();
  }

  #receive(receiver: BodyReceiver): void {
    if (this.#ending.signal.aborted) return;
    const { bounds, bodies, clock, events } = this.#options;
    const bodyBytes = announcedBodyBytes(this.#wire.head, bounds.bodyMaxBytes);
    if (typeof bodyBytes !== 'number') {
      if (bodyBytes.status === 413) events.limitReached('body_bytes');
      this.answer(bodyBytes);
      return;
    }
    const giveBack = bodies.take(bodyBytes);
    if (giveBack === undefined) {
      events.limitReached('bodies_bytes');
      this.answer(BODIES_FULL);
      return;
    }
    const cancel = clock.after(bounds.exchangeMaxMs, () => {
      events.limitReached('body_time');
      this.#wire.cut();
      this.end();
    });
    this.#ending.signal.addEventListener('abort', () => {
      cancel();
      giveBack();
    });
    this.#wire.read((body) => {
      cancel();
      this.#consult({ ask: () => receiver(body), check: checkedHttpAnswer }, (answer) => {
        this.answer(answer);
      });
    });
  }

  /** What the owner throws once nobody waits any more is nobody's fault. */
  #consult<T extends HttpVerdict>(
    question: { readonly ask: () => T | Promise<T>; readonly check: (answer: T) => T | HttpAnswer },
    deliver: (answer: T | HttpAnswer) => void,
  ): void {
    const { clock, bounds, events } = this.#options;
    const fault = (error: unknown): void => {
      if (!this.#ending.signal.aborted) events.fault(error);
    };
    consult<T, T | HttpAnswer>(
      { ...question, fallback: FAULT_ANSWER, fault, clock, maxMs: bounds.exchangeMaxMs },
      deliver,
    );
  }
}
