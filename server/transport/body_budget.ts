/** Room for the bodies of requests, shared by all of them. */
export class BodyBudget {
  readonly #maxBytes: number;
  #takenBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Takes room; the function that gives it back does so once. Undefined if there is not enough. */
  take(bytes: number): (() => void) | undefined {
    if (this.#takenBytes + bytes > this.#maxBytes) return undefined;
    this.#takenBytes += bytes;
    let isTaken = true;
    return () => {
      if (isTaken) this.#takenBytes -= bytes;
      isTaken = false;
    };
  }
}
