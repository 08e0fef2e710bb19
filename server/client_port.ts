/** The clients' port: which path speaks which dialect, and what plain HTTP gets. */
import { STREAM_PATH, type StartMessage } from '../client/protocol.ts';
import type { Clock } from '../pipeline/clock.ts';
import { AccessError, ProtocolError, TranscriptionError } from '../pipeline/errors.ts';
import type { LabelsOf, Telemetry } from '../pipeline/telemetry.ts';
import type { Access, AccessDialect } from './access.ts';
import type { Log } from './log.ts';
import { NativeDialect, type NativeDialectOptions } from './native_dialect.ts';
import { errorText, startFromQuery, tokenOfStart } from './native_messages.ts';
import { errorAnswer } from './request_head.ts';
import type { SessionRegistry } from './session_registry.ts';
import { certificateExpirySeconds, readTlsFiles } from './tls_files.ts';
import type {
  HttpAnswer,
  HttpRequest,
  ListenOptions,
  TlsFiles,
  Transport,
  UpgradeAnswer,
  UpgradeRequest,
} from './transport.ts';

const NATIVE_ACCESS: AccessDialect = { errorText, tokenOf: tokenOfStart };

export interface ClientPortOptions {
  readonly transport: Transport;
  readonly access: Access;
  readonly registry: SessionRegistry;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly log: Log;
  readonly defaults: NativeDialectOptions['defaults'];
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
        upgrade: (request) => this.#upgrade(request),
        http: answerHttp,
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

  /** Takes new certificate files for new connections. Throws `ConfigError`; the old ones stay in force then. */
  async renewTls(files: TlsFiles): Promise<void> {
    await this.#options.transport.renewTls(files);
    this.#tellExpiry(files);
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

  #tellExpiry(files: TlsFiles): void {
    const expirySeconds = certificateExpirySeconds(readTlsFiles(files).cert);
    this.#options.telemetry.set('tls_certificate_expiry_timestamp_seconds', {}, expirySeconds);
  }

  async #upgrade(request: UpgradeRequest): Promise<UpgradeAnswer> {
    if (request.path !== STREAM_PATH)
      return this.#refuse({
        reason: 'not_found',
        status: 404,
        error: new ProtocolError('not_found', `there is no ${request.path} here; try ${STREAM_PATH}`),
      });
    try {
      return await this.#upgradeNative(request, startFromQuery(request.query));
    } catch (error) {
      if (!(error instanceof TranscriptionError)) throw error;
      return this.#refuse({ reason: 'bad_request', status: 400, error });
    }
  }

  async #upgradeNative(request: UpgradeRequest, start: StartMessage | undefined): Promise<UpgradeAnswer> {
    const { access, registry } = this.#options;
    // With settings in the query there is no `start` to bring a token.
    const admission = await access.judge(request, start === undefined ? NATIVE_ACCESS : { errorText });
    if (!admission.isAdmitted) {
      const { reason, message } = admission;
      return this.#refuse({ ...admission, error: new AccessError(reason, message) });
    }
    const refusal = registry.refusal();
    if (refusal !== undefined) {
      const { reason, error, retryAfterSeconds } = refusal;
      return this.#refuse({
        reason,
        status: 503,
        error,
        headers: { 'Retry-After': String(retryAfterSeconds) },
      });
    }
    const { protocol } = admission;
    return {
      accept: true,
      ...(protocol === undefined ? {} : { protocol }),
      listener: (connection) =>
        admission.guard(connection, () => new NativeDialect(connection, this.#options, start)),
    };
  }

  #refuse(refusal: {
    readonly reason: LabelsOf<'sessions_refused_total'>['reason'];
    readonly status: number;
    readonly error: TranscriptionError;
    readonly headers?: Readonly<Record<string, string>>;
  }): UpgradeAnswer {
    const { reason, status, error, headers } = refusal;
    this.#options.telemetry.count('sessions_refused_total', { reason });
    return { accept: false, ...errorAnswer(status, error, headers) };
  }
}

function answerHttp(request: HttpRequest): HttpAnswer {
  const isIndex = request.path === '/';
  return {
    status: isIndex ? 200 : 404,
    headers: { 'Content-Type': 'text/plain; charset=utf-8' },
    body: isIndex
      ? `Earwitness is listening. Open a WebSocket at ${STREAM_PATH}.\n`
      : `There is nothing at this address. Open a WebSocket at ${STREAM_PATH}.\n`,
  };
}
