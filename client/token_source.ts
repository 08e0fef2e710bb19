/** Where the client's credentials come from. */
import type { Cancel, ClientClock } from './client_clock.ts';
import { StreamError } from './stream_error.ts';

/** An API key or a token, or a function that gets one. */
export type TokenSource = string | (() => string | Promise<string>);

/** Time for a token to come. */
const TOKEN_MAX_MS = 10_000;

/**
 * Asks for a token and tells it, or why there is none (`no_token`, retryable), to `onAnswer`: once, and not after the
 * function that is returned was called.
 */
export function requestToken(
  source: Exclude<TokenSource, string>,
  clock: ClientClock,
  onAnswer: (answer: string | StreamError) => void,
): Cancel {
  let isOver = false;
  const finish = (answer: string | StreamError): void => {
    if (isOver) return;
    isOver = true;
    cancelTimer();
    onAnswer(answer);
  };
  const cancelTimer = clock.after(TOKEN_MAX_MS, () => {
    finish(failure(`none came within ${TOKEN_MAX_MS / 1_000} s`));
  });
  Promise.resolve()
    .then(source)
    .then(finish, (cause: unknown) => {
      finish(failure(String(cause)));
    });
  return () => {
    isOver = true;
    cancelTimer();
  };
}

function failure(why: string): StreamError {
  return new StreamError('no_token', `cannot get a token: ${why}`, true);
}
