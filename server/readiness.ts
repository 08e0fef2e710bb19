/** When the server can serve for the first time. */
import { ConfigError, InferenceError } from '../pipeline/errors.ts';
import { isReady, type Health, type WorkerReport } from './admin.ts';

/** A promise of the first `ready`; health goes on changing afterwards. */
export class Readiness {
  readonly promise: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: Error) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Whoever awaits `ready` sees the failure; nobody has to.
    this.promise.catch(() => undefined);
  }

  judge(health: Health, workers: readonly WorkerReport[]): void {
    const { status, reasons } = health;
    if (isReady(health)) this.#resolve();
    if (status !== 'failed') return;
    const fault = `the workers cannot start: ${reasons.join('; ')}`;
    const isHopeless = workers.some((worker) => worker.state === 'failed');
    this.#reject(
      isHopeless
        ? new ConfigError('model_missing', `${fault}; "earwitness models verify" checks their weights`)
        : new InferenceError('unavailable', fault, { retryable: true }),
    );
  }
}
