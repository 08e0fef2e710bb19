/** A promise with its ends outside. A rejection that nobody looks at is not an unhandled one. */
export class Deferred {
  readonly promise: Promise<void>;
  resolve: () => void = () => undefined;
  reject: (error: Error) => void = () => undefined;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Whoever wants to know awaits the promise; the client's `error` event says the same.
    this.promise.catch(() => undefined);
  }

  /** A promise that cannot be kept. */
  static rejected(error: Error): Promise<void> {
    const deferred = new Deferred();
    deferred.reject(error);
    return deferred.promise;
  }
}
