/**
 * Every failure a client or an operator can meet, by code. The code is chosen where the fault is found; how it
 * ends a connection is decided in one place, `CLOSE_CODES`.
 */
export const ERROR_CODES = {
  // ProtocolError: the client broke a rule of the protocol.
  bad_message: 'what was sent is no control message, or not at this time',
  bad_settings: 'a field of `start`, or a setting in the query, is not valid',
  not_started: 'audio came before the session was started',
  not_found: 'there is nothing at this path; only before the upgrade',
  // LimitError: a bound was exceeded.
  message_too_large: 'a message exceeds its size bound',
  too_fast: 'audio comes faster than it can be accepted',
  idle_timeout: 'neither audio nor a keepAlive came in time',
  slow_reader: 'the client does not read what it is sent',
  handshake_timeout: 'the session was not started in time',
  // AccessError: who asks, or from where, is not let in.
  unauthorized: 'the credentials are missing or not valid',
  forbidden: 'not allowed from there',
  rate_limited: 'too many connections or sessions',
  // AudioError: the audio cannot be used.
  unsupported_audio: 'the bytes are not audio in the named encoding',
  undecodable_packet: 'a packet could not be decoded and was concealed',
  invalid_pcm: 'PCM is empty, too long or otherwise unfit for the model',
  // OverloadError: the server is at its capacity.
  overloaded: 'the server is at its capacity',
  shed: 'the server is overloaded and ends sessions in which nobody speaks',
  draining: 'the server is shutting down',
  // InferenceError: a worker or a model failed.
  worker_died: 'a worker process ended unexpectedly',
  deadline_exceeded: 'a job outlived its deadline',
  poison: 'this audio ended two workers and is not tried again',
  unavailable: 'no worker is available',
  internal: 'the server failed',
  // ConfigError: the server cannot start as configured.
  bad_config: 'the configuration is not valid',
  model_missing: 'the weights of a model are missing or damaged',
} as const;
export type ErrorCode = keyof typeof ERROR_CODES;

/** A failure with a stable code. `message` is written for the client: action, rule and value, no internals. */
export class TranscriptionError extends Error {
  readonly code: ErrorCode;
  /** True when the same request can succeed later or elsewhere. */
  readonly retryable: boolean;

  constructor(code: ErrorCode, message: string, options: { retryable?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

/** The client broke a rule of the protocol. */
export class ProtocolError extends TranscriptionError {}
/** A bound was exceeded. */
export class LimitError extends TranscriptionError {}
/** Who asks, or from where, is not let in. */
export class AccessError extends TranscriptionError {
  declare readonly code: 'unauthorized' | 'forbidden' | 'rate_limited';
  /** When it may be tried again; of `rate_limited` only. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: 'unauthorized' | 'forbidden' | 'rate_limited',
    message: string,
    options: { readonly retryAfterSeconds?: number } = {},
  ) {
    super(code, message, { retryable: code === 'rate_limited' });
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}
/** The audio cannot be used. */
export class AudioError extends TranscriptionError {}
/** The server is at its capacity or going away; retryable. */
export class OverloadError extends TranscriptionError {}
/** A worker or a model failed. */
export class InferenceError extends TranscriptionError {
  /** Which part of its slot's time the job has cost that it ended: less than 1 of one in a batch. */
  readonly slotShare: number;

  constructor(
    code: ErrorCode,
    message: string,
    options: { retryable?: boolean; cause?: unknown; slotShare?: number } = {},
  ) {
    super(code, message, options);
    this.slotShare = options.slotShare ?? 1;
  }
}
/** A worker ended on a batch: which of the jobs ended it is not known until each has been run alone. */
export class SharedDeathError extends InferenceError {}
/** A device that must not be used any more by the process that met the error: it is lost, or has no memory left. */
export class DeviceError extends InferenceError {
  constructor(message: string, cause: unknown) {
    super('worker_died', message, { retryable: true, cause });
  }
}

/** True if a job failed because its worker ended. */
export function endedWorker(error: unknown): boolean {
  return (
    error instanceof InferenceError && (error.code === 'worker_died' || error.code === 'deadline_exceeded')
  );
}

/** Which part of its slot's time a job that failed has cost. */
export function slotShareOf(error: unknown): number {
  return error instanceof InferenceError ? error.slotShare : 1;
}

/** The server cannot start as configured; a restart does not help. */
export class ConfigError extends TranscriptionError {}
/** What a command line asks for makes no sense, whatever the configuration. */
export class UsageError extends ConfigError {
  constructor(message: string) {
    super('bad_config', message);
  }
}

/** WebSocket close code for each error that ends a connection (RFC 6455 section 7.4; 4000–4999 are ours). */
export const CLOSE_CODES: Readonly<Record<ErrorCode, number>> = {
  bad_message: 4400,
  bad_settings: 4400,
  not_started: 4400,
  not_found: 4404,
  message_too_large: 1009,
  too_fast: 4429,
  idle_timeout: 4408,
  slow_reader: 4413,
  handshake_timeout: 4408,
  unauthorized: 4401,
  forbidden: 4403,
  rate_limited: 4429,
  unsupported_audio: 4415,
  undecodable_packet: 4415,
  invalid_pcm: 4415,
  overloaded: 1013,
  shed: 4503,
  draining: 1012,
  worker_died: 1011,
  deadline_exceeded: 1011,
  poison: 1011,
  unavailable: 1013,
  internal: 1011,
  bad_config: 1011,
  model_missing: 1011,
};

/** Exit status of a process that must not be restarted: its configuration or its weights are wrong. */
export const EXIT_CONFIG = 42;
/** Exit status of a worker that was handed a second job while one was running. */
export const EXIT_CONCURRENCY = 71;
/** Exit status of a worker whose device is lost: what it would still compute is not to be trusted. */
export const EXIT_DEVICE = 73;
/** Exit status of a worker whose parent has gone. */
export const EXIT_ORPHANED = 72;
