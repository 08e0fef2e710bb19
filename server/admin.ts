/** The operators' HTTP port: metrics, health, readiness and workers, apart from the clients' port. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  ADMIN_CONNECTION_MAX_COUNT,
  ADMIN_HEADERS_MAX_MS,
  ADMIN_REQUEST_MAX_MS,
} from '../pipeline/limits.ts';
import { listenFault } from './transport/listen_fault.ts';
import type { Metrics } from './records/metrics.ts';
import type { SessionChronicle } from './records/session_chronicle.ts';

/** How well clients are served. `degraded` is ready, with less than was configured. */
export interface Health {
  readonly status: 'starting' | 'ready' | 'degraded' | 'draining' | 'failed';
  /** Why it is not `ready`, one sentence each; empty when it is. */
  readonly reasons: readonly string[];
}

const IS_READY: Readonly<Record<Health['status'], boolean>> = {
  starting: false,
  ready: true,
  degraded: true,
  draining: false,
  failed: false,
};

/** Whether clients should be sent here. */
export function isReady({ status }: Health): boolean {
  return IS_READY[status];
}

/** One worker slot, as `/workers` shows it. */
export interface WorkerReport {
  readonly role: 'audio' | 'inference';
  /** 0 while there is no process. */
  readonly pid: number;
  readonly state: string;
  readonly restarts: number;
  readonly rssBytes: number;
  /** Processor time of all processes of the slot so far. */
  readonly cpuMs: number;
  /** Why it is slower than it could be; absent if it is not. */
  readonly warning?: string;
  /** What it runs on, and why that is not the configured device; absent where there is no choice. */
  readonly device?: string;
  readonly fallback?: string;
}

export interface AdminOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly metrics: Pick<Metrics, 'render'>;
  readonly health: () => Health;
  readonly workers: () => readonly WorkerReport[];
  readonly traces: Pick<SessionChronicle, 'sessions' | 'report'>;
  /** Told of an answer that could not be made (the client got a 500) or a connection that could not be taken. */
  readonly onError: (error: unknown) => void;
}

/** The admin port. `start` once; `close` is idempotent. */
export interface AdminServer {
  /** Listens. Throws `ConfigError` (`bad_config`) if the port cannot be had. */
  start(): Promise<{ readonly port: number }>;
  /** Stops listening and ends open requests. */
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

const TEXT = 'text/plain; charset=utf-8';
const JSON_TYPE = 'application/json; charset=utf-8';
const NOT_FOUND: Answer = { status: 404, contentType: TEXT, body: 'not found; / lists what there is\n' };
const TRACE_PREFIX = '/trace/';
const INDEX = `Earwitness, admin port

/metrics   Prometheus metrics
/healthz   200 while the process lives
/readyz    200 if clients may be sent here, else 503, with the reasons
/workers   the worker processes
/trace     the sessions whose time lines are known; /trace/SESSION is one of them
`;

/** Creates the server; nothing happens before `start`. */
export function createAdminServer(options: AdminOptions): AdminServer {
  return new HttpAdminServer(options);
}

class HttpAdminServer implements AdminServer {
  readonly #options: AdminOptions;
  readonly #server: Server;
  #closed: Promise<void> | undefined;

  constructor(options: AdminOptions) {
    this.#options = options;
    const bounds = {
      headersTimeout: ADMIN_HEADERS_MAX_MS,
      requestTimeout: ADMIN_REQUEST_MAX_MS,
      keepAliveTimeout: ADMIN_REQUEST_MAX_MS,
      connectionsCheckingInterval: ADMIN_HEADERS_MAX_MS / 2,
    };
    this.#server = createServer(bounds, (request, response) => {
      void this.#handle(request, response);
    });
    this.#server.maxConnections = ADMIN_CONNECTION_MAX_COUNT;
  }

  start(): Promise<{ readonly port: number }> {
    const { host, port, onError } = this.#options;
    return new Promise((resolve, reject) => {
      const refuse = (cause: Error): void => {
        reject(listenFault({ settings: { host: 'adminHost', port: 'adminPort' }, host, port }, cause));
      };
      this.#server.once('error', refuse);
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', refuse).on('error', onError);
        resolve({ port: (this.#server.address() as AddressInfo).port });
      });
    });
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      // The callback's only error is that the server was never listening, and then there is nothing to close.
      this.#server.close(() => {
        resolve();
      });
      this.#server.closeAllConnections();
    });
    return this.#closed;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume();
    try {
      send(response, await this.#answer(request));
    } catch (error) {
      this.#options.onError(error);
      send(response, { status: 500, contentType: TEXT, body: 'the answer could not be made\n' });
    }
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return { status: 405, contentType: TEXT, body: 'only GET and HEAD\n' };
    }
    const path = (request.url ?? '/').replace(/\?.*$/, '');
    switch (path) {
      case '/':
        return { status: 200, contentType: TEXT, body: INDEX };
      case '/metrics':
        return { status: 200, ...(await this.#options.metrics.render()) };
      case '/healthz':
        return json(200, { status: 'live' });
      case '/readyz':
        return readiness(this.#options.health());
      case '/workers':
        return json(200, this.#options.workers());
      case '/trace':
        return json(200, this.#options.traces.sessions());
      default:
        return this.#traceAnswer(path) ?? NOT_FOUND;
    }
  }

  #traceAnswer(path: string): Answer | undefined {
    if (!path.startsWith(TRACE_PREFIX)) return undefined;
    const report = this.#options.traces.report(path.slice(TRACE_PREFIX.length));
    return report === undefined ? undefined : json(200, report);
  }
}

function readiness(health: Health): Answer {
  const { status, reasons } = health;
  return json(isReady(health) ? 200 : 503, status === 'ready' ? { status } : { status, reasons });
}

function json(status: number, content: unknown): Answer {
  return { status, contentType: JSON_TYPE, body: `${JSON.stringify(content)}\n` };
}

/** Node leaves the body of an answer to HEAD out by itself. */
function send(response: ServerResponse, answer: Answer): void {
  response.writeHead(answer.status, {
    'content-type': answer.contentType,
    'content-length': Buffer.byteLength(answer.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(answer.status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(answer.body);
}
