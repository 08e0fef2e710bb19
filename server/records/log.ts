/** The server's log: one line per event, a static name and fields, never what anybody said. */
import pino from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { Clock } from '../../pipeline/clock.ts';
import { LOG_FLUSH_MAX_MS, LOG_REPEAT_WINDOW_MS } from '../../pipeline/limits.ts';
import { BoundedOutput, type OutputStream } from '../bounded_output.ts';
import { RepeatLimiter } from './repeat_limiter.ts';
import type { Config } from '../settings.ts';

export type LogLevel = Config['logLevel'];

/** Facts of an event. An `Error` goes under `err` and is written with its stack and causes. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where the parts report what happened. `event` is a constant: what varies goes into `fields`. Never throws. */
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A log that adds these fields to every line. */
  child(fields: LogFields): Log;
}

/** The log that the others are children of. */
export interface RootLog extends Log {
  /** Sums up what was held back and resolves when all lines are written, after LOG_FLUSH_MAX_MS at the latest. */
  flush(): Promise<void>;
  /** Lines dropped since the last call, because nobody read the output; for `log_lines_dropped_total`. */
  takeDroppedCount(): number;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: Config['logFormat'];
  readonly clock: Clock;
  /** Usually `process.stdout`; lines are dropped while more than LOG_BUFFER_MAX_BYTES of it are unread. */
  readonly output: OutputStream;
}

/** Fields that are never written, at the first two levels: credentials, and what people said. */
export const SECRET_FIELDS = [
  ...['token', 'key', 'apiKey', 'accessKey', 'secret', 'password', 'credentials', 'authorization', 'cookie'],
  ...['audio', 'pcm', 'bytes', 'text', 'transcript', 'words', 'hypothesis', 'draft', 'tokens', 'stable'],
] as const;
const REDACTED = SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]);

/** Creates the process's log. It owns a listener on `output` for as long as the process lives. */
export function createLog(options: LogOptions): RootLog {
  const { level, clock, output } = options;
  const bounded = new BoundedOutput(output, (count) => {
    logger.warn({ count }, 'log lines dropped');
  });
  const logger = pino(pinoOptions(level), destination(bounded, options));
  const limiter = new RepeatLimiter(clock, (event, count) => {
    logger.warn({ event, count, windowMs: LOG_REPEAT_WINDOW_MS }, 'repeated lines held back');
  });
  return new PinoRootLog(logger, { limiter, bounded, clock });
}

function pinoOptions(level: LogLevel): pino.LoggerOptions {
  return {
    level,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: pino.stdSerializers.errWithCause },
    redact: { paths: REDACTED, censor: '[redacted]' },
  };
}

/** pino's own destinations block the loop or a pool thread, which keeps the process from ending: see BoundedOutput. */
function destination(bounded: BoundedOutput, { format, output }: LogOptions): pino.DestinationStream {
  const isTerminal = output.isTTY === true;
  if (format === 'json' || (format === 'auto' && !isTerminal)) return bounded;
  const prettify = prettyFactory({ colorize: isTerminal, translateTime: 'SYS:HH:MM:ss.l', ignore: 'pid' });
  return {
    write: (line) => {
      bounded.write(prettify(line));
    },
  };
}

class PinoLog implements Log {
  readonly #logger: pino.Logger;
  readonly #limiter: RepeatLimiter;

  constructor(logger: pino.Logger, limiter: RepeatLimiter) {
    this.#logger = logger;
    this.#limiter = limiter;
  }

  debug(event: string, fields: LogFields = {}): void {
    this.#write('debug', event, fields);
  }

  info(event: string, fields: LogFields = {}): void {
    this.#write('info', event, fields);
  }

  warn(event: string, fields: LogFields = {}): void {
    this.#write('warn', event, fields);
  }

  error(event: string, fields: LogFields = {}): void {
    this.#write('error', event, fields);
  }

  child(fields: LogFields): Log {
    return new PinoLog(this.#logger.child(fields), this.#limiter);
  }

  #write(level: LogLevel, event: string, fields: LogFields): void {
    if (!this.#logger.isLevelEnabled(level) || !this.#limiter.admit(event)) return;
    try {
      this.#logger[level](fields, event);
    } catch {
      // A field's own getter or toJSON threw: the event is worth more than its fields.
      this.#logger[level]({ fieldsLost: true }, event);
    }
  }
}

interface RootParts {
  readonly limiter: RepeatLimiter;
  readonly bounded: BoundedOutput;
  readonly clock: Clock;
}

class PinoRootLog extends PinoLog implements RootLog {
  readonly #parts: RootParts;

  constructor(logger: pino.Logger, parts: RootParts) {
    super(logger, parts.limiter);
    this.#parts = parts;
  }

  async flush(): Promise<void> {
    const { limiter, bounded, clock } = this.#parts;
    limiter.sumUp();
    await bounded.flush(clock, LOG_FLUSH_MAX_MS);
  }

  takeDroppedCount(): number {
    return this.#parts.bounded.takeDroppedCount();
  }
}
