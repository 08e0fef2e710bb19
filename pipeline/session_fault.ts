/** Our own faults in one session: workers, the scheduler and the clock serve everybody, and must not be reached by them. */
import { TranscriptionError } from './errors.ts';

/** Something was thrown while the session was served: our own fault. `cause` is for the log, never for the client. */
export function sessionFault(cause: unknown): TranscriptionError {
  return new TranscriptionError('internal', 'the server failed in this session; connect again', {
    retryable: true,
    cause,
  });
}

/** What calls `act`, and ends this session, and no other, for what it throws; then it returns undefined. */
export function contained<A extends unknown[], T>(
  session: { fail(error: TranscriptionError): void },
  act: (...args: A) => T,
): (...args: A) => T | undefined {
  return (...args) => {
    try {
      return act(...args);
    } catch (cause) {
      session.fail(sessionFault(cause));
      return undefined;
    }
  };
}
