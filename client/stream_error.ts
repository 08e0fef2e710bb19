/**
 * Why a session ended without `done`, or why a promise of it cannot be kept. `code` is the server's, or one of ours:
 * `connection_lost` (all attempts to reconnect failed), `closed` (by `close()`), `bad_message` (the server does not
 * speak this protocol), `no_token` (the function that gets a token failed), `bad_url` (no socket could be made), `close_<n>` (the server closed with code n and gave no reason).
 */
export class StreamError extends Error {
  readonly code: string;
  /** True when a new client could succeed with the same settings later. */
  readonly retryable: boolean;

  constructor(code: string, message: string, retryable: boolean) {
    super(message);
    this.name = 'StreamError';
    this.code = code;
    this.retryable = retryable;
  }
}
