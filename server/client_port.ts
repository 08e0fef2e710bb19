/** The clients' port: which path speaks which dialect, and what plain HTTP gets. */
import { STATUS_PATH, STREAM_PATH, type ServerStatus } from '../client/protocol.ts';
import { AccessError, ProtocolError, TranscriptionError } from '../pipeline/errors.ts';
import { countError, type LabelsOf, type Telemetry } from '../pipeline/telemetry.ts';
import type { Access, NoAdmission } from './access/access.ts';
import {
  statusOf,
  type Dialect,
  type Opening,
  type PostedRequest,
  type RequestRefusal,
  type Responder,
  type TextAnswer,
} from './dialects/dialect.ts';
import type { Log } from './records/log.ts';
import type { PageFiles } from './transport/page_files.ts';
import { errorAnswer } from './transport/request_head.ts';
import type { Refusal, SessionRegistry } from './session_registry.ts';
import { certificateExpirySeconds } from './transport/tls_files.ts';
import type { TrustedProxies } from './access/trusted_proxies.ts';
import type {
  HttpAnswer,
  HttpRequest,
  HttpVerdict,
  ListenOptions,
  RequestHead,
  TlsIdentity,
  Transport,
  UpgradeAnswer,
  UpgradeRequest,
} from './transport/transport.ts';

type Accepted = Extract<UpgradeAnswer, { accept: true }>;

/** Whose a path is that is posted to, and who answers there. */
interface Posted {
  readonly dialect: Dialect;
  readonly respond: Responder;
}

export interface ClientPortOptions {
  readonly transport: Transport;
  readonly access: Access;
  readonly registry: SessionRegistry;
  /** What is served at `/`; absent where there is no page. */
  readonly page?: PageFiles;
  readonly telemetry: Telemetry;
  readonly log: Log;
  readonly trustedProxies: TrustedProxies;
  /** Those that are spoken here; the first one that knows a path has it. */
  readonly dialects: readonly Dialect[];
}

export class ClientPort {
  readonly #options: ClientPortOptions;

  constructor(options: ClientPortOptions) {
    this.#options = options;
  }

  async listen(address: Omit<ListenOptions, 'events'>): Promise<{ readonly port: number }> {
    const bound = await this.#options.transport.listen({
      ...address,
      events: {
        clientAddress: (head) => this.#options.trustedProxies.clientAddress(head),
        upgrade: (request) => this.#upgrade(request),
        http: (request) => this.#answer(request),
        fault: (error) => {
          this.#options.telemetry.count('errors_total', { class: 'internal' });
          this.#options.log.error('a connection failed on our side', { err: error });
        },
        limitReached: (limit) => {
          this.#options.telemetry.count('transport_limits_total', { limit });
        },
      },
    });
    if (address.tls !== undefined) this.#tellExpiry(address.tls);
    return bound;
  }

  /** Takes a new certificate for new connections. Throws `ConfigError`; the old one stays in force then. */
  async renewTls(tls: TlsIdentity): Promise<void> {
    await this.#options.transport.renewTls(tls);
    this.#tellExpiry(tls);
  }

  /** Bytes that wait for clients to read. */
  get bufferedBytes(): number {
    return this.#options.transport.bufferedBytes;
  }

  stopListening(): void {
    this.#options.transport.stopListening();
  }

  close(): Promise<void> {
    return this.#options.transport.close();
  }

  #tellExpiry({ cert }: TlsIdentity): void {
    const expirySeconds = certificateExpirySeconds(cert);
    this.#options.telemetry.set('tls_certificate_expiry_timestamp_seconds', {}, expirySeconds);
  }

  async #upgrade(request: UpgradeRequest): Promise<UpgradeAnswer> {
    const tooMany = this.#refuseRate(request);
    if (tooMany !== undefined) return { accept: false, ...tooMany };
    const dialect = this.#options.dialects.find(({ path }) => path === '*' || path === request.path);
    if (dialect === undefined) {
      const error = new ProtocolError('not_found', `there is no ${request.path} here; try ${this.#paths}`);
      return { accept: false, ...this.#refuse('not_found', { status: 404, error }) };
    }
    const answer = await this.#open(dialect, request);
    return 'accept' in answer ? answer : { accept: false, ...answer };
  }

  async #open(dialect: Dialect, request: UpgradeRequest): Promise<Accepted | TextAnswer> {
    let opening: Opening;
    try {
      opening = dialect.open(request);
    } catch (error) {
      if (!(error instanceof TranscriptionError)) throw error;
      return this.#refuse('bad_request', { status: 400, error }, dialect);
    }
    const admission = await this.#options.access.judge(request, opening.access);
    if (!admission.isAdmitted) return this.#refuseEntrance(admission, dialect);
    const { registry } = this.#options;
    const refusal =
      registry.refusal() ?? (opening.awaitsStart === true ? registry.crowdRefusal() : undefined);
    if (refusal !== undefined) return this.#refuseSession(refusal, dialect);
    const protocol = admission.protocol ?? opening.protocol;
    return {
      accept: true,
      ...(protocol === undefined ? {} : { protocol }),
      ...(opening.headers === undefined ? {} : { headers: opening.headers }),
      listener: (connection) =>
        admission.guard(connection, () => {
          this.#options.telemetry.count('admissions_total', { dialect: dialect.name, form: 'stream' });
          return opening.listener(connection);
        }),
    };
  }

  /** Who answers what is posted to this path. */
  #posted({ method, path }: RequestHead): Posted | undefined {
    if (method !== 'POST') return undefined;
    for (const dialect of this.#options.dialects) {
      const respond = dialect.posts?.get(path);
      if (respond !== undefined) return { dialect, respond };
    }
    return undefined;
  }

  /** Whatever can be refused is before its body is read; a body that nobody wants is not read at all. */
  #answer(request: HttpRequest): HttpVerdict | Promise<HttpVerdict> {
    const tooMany = this.#refuseRate(request);
    if (tooMany !== undefined) return tooMany;
    const posted = this.#posted(request);
    return posted === undefined ? this.#get(request) : this.#enter(posted, request);
  }

  /** Lets somebody in with what is posted, for as long as an answer is waited for. */
  async #enter({ dialect, respond }: Posted, request: HttpRequest): Promise<HttpVerdict> {
    const { ended } = request;
    const entrance = await this.#options.access.enter(request);
    if (!entrance.isAdmitted) return this.#refuseEntrance(entrance, dialect);
    if (ended.aborted) entrance.leave();
    else ended.addEventListener('abort', entrance.leave);
    const refusal = this.#options.registry.refusal();
    if (refusal !== undefined) return this.#refuseSession(refusal, dialect);
    return (body) => this.#respond({ dialect, respond }, { ...request, body, caller: entrance.caller });
  }

  async #respond({ dialect, respond }: Posted, request: PostedRequest): Promise<HttpAnswer> {
    // The body may have been a while on its way.
    const refusal = this.#options.registry.refusal();
    if (refusal !== undefined) return this.#refuseSession(refusal, dialect);
    this.#options.telemetry.count('admissions_total', { dialect: dialect.name, form: 'request' });
    try {
      return await respond(request);
    } catch (error) {
      if (!(error instanceof TranscriptionError)) throw error;
      countError(this.#options.telemetry, error);
      return dialect.refuse({ status: statusOf(error), error });
    }
  }

  #get(request: HttpRequest): HttpAnswer {
    if (request.path === STATUS_PATH) return this.#answerStatus(request);
    return this.#options.page?.answer(request) ?? answerPlainly(request);
  }

  #answerStatus({ method }: HttpRequest): HttpAnswer {
    if (method !== 'GET' && method !== 'HEAD') {
      return errorAnswer(405, new ProtocolError('bad_message', 'only GET and HEAD'), { Allow: 'GET, HEAD' });
    }
    const { access, registry } = this.#options;
    const refusal = registry.refusal();
    const status: ServerStatus = {
      ...(refusal === undefined
        ? { status: 'ready' }
        : { status: 'busy', retryAfterSeconds: refusal.retryAfterSeconds }),
      needsKey: access.asksForKeys,
    };
    return {
      status: 200,
      headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' },
      body: `${JSON.stringify(status)}\n`,
    };
  }

  get #paths(): string {
    return this.#options.dialects.map(({ path }) => path).join(', ');
  }

  #refuseRate(head: RequestHead): TextAnswer | undefined {
    const tooMany = this.#options.access.judgeRate(head);
    return tooMany === undefined ? undefined : this.#refuseEntrance(tooMany);
  }

  #refuseEntrance({ reason, status, message, headers }: NoAdmission, dialect?: Dialect): TextAnswer {
    return this.#refuse(reason, { status, error: new AccessError(reason, message), headers }, dialect);
  }

  #refuseSession({ reason, error, retryAfterSeconds }: Refusal, dialect: Dialect): TextAnswer {
    const headers = { 'Retry-After': String(retryAfterSeconds) };
    return this.#refuse(reason, { status: 503, error, headers }, dialect);
  }

  #refuse(
    reason: LabelsOf<'sessions_refused_total'>['reason'],
    refusal: RequestRefusal,
    dialect?: Dialect,
  ): TextAnswer {
    this.#options.telemetry.count('sessions_refused_total', { reason });
    const { status, error, headers } = refusal;
    return dialect === undefined ? errorAnswer(status, error, headers) : dialect.refuse(refusal);
  }
}

/** Where there is no page. */
function answerPlainly(request: RequestHead): HttpAnswer {
  const isIndex = request.path === '/';
  return {
    status: isIndex ? 200 : 404,
    headers: { 'Content-Type': 'text/plain; charset=utf-8' },
    body: isIndex
      ? `Earwitness is listening. Open a WebSocket at ${STREAM_PATH}.\n`
      : `There is nothing at this address. Open a WebSocket at ${STREAM_PATH}.\n`,
  };
}
