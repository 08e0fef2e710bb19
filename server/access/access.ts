/**
 * Who may connect: rate (`judgeRate`), then origin, credentials, sessions at a time (`judge`), in this order. Every dialect asks the same judge
 * before the upgrade and lets it stand before its listener, so that no dialect has rules of its own.
 */
import { randomUUID } from 'node:crypto';
import { AccessError, type TranscriptionError } from '../../pipeline/errors.ts';
import type { Clock } from '../../pipeline/clock.ts';
import {
  ADDRESS_TABLE_MAX_COUNT,
  CONNECTION_BURST_RATIO,
  PENDING_TOKEN_MAX_COUNT,
  SESSIONS_RETRY_AFTER_SECONDS,
} from '../../pipeline/limits.ts';
import { countError, type Telemetry } from '../../pipeline/telemetry.ts';
import { clientBlock, isLoopback } from './address.ts';
import { AdmittedListener, DEAF_LISTENER } from './admitted_listener.ts';
import { findKey, isKeyForm, type ApiKey } from './api_keys.ts';
import { credentialOf, missingCredential, protocolMarker, type AccessRequest } from './credentials.ts';
import { KeyRing } from './key_ring.ts';
import type { KeySet } from './keys_file.ts';
import { LateToken } from './late_token.ts';
import type { Log } from '../records/log.ts';
import { isOriginAllowed, ownOrigins } from './origin.ts';
import { RateLimit } from './rate_limit.ts';
import { SessionQuota, type Share } from './session_quota.ts';
import type { Config } from '../settings.ts';
import { signToken, verifyToken } from './tokens.ts';
import type { Connection, ConnectionListener, RequestHead } from '../transport/transport.ts';

export interface AccessOptions {
  readonly config: Pick<
    Config,
    'keysFile' | 'allowedOrigins' | 'maxSessionsPerKey' | 'maxSessionsPerIp' | 'connectionsPerMinutePerIp'
  >;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly log: Log;
  /** The time of day, which tokens are valid by. */
  readonly now?: () => Date;
}

/** The code and the reason of a close frame. */
export interface Closing {
  readonly code: number;
  readonly reason: string;
}

/** How a dialect says on an open connection that an error ends it. */
export interface ErrorSpeech {
  /** What is sent before the close frame; undefined for nothing. */
  readonly errorText: (error: TranscriptionError) => string | undefined;
  readonly closingOf: (error: TranscriptionError) => Closing;
}

/** How a dialect speaks to clients that are not let in after the upgrade. */
export interface AccessDialect extends ErrorSpeech {
  /**
   * Reads the token from a connection's first message, of dialects that have a place for it; throws
   * `TranscriptionError` if it is no such message. Without it, credentials must come with the request.
   */
  readonly tokenOf?: (firstMessage: string) => string | undefined;
}

/** Whether a request may go on. */
export type Admission =
  | {
      readonly isAdmitted: true;
      /** The subprotocol to answer with, if credentials came with one. */
      readonly protocol?: string;
      /**
       * Puts the judge before a dialect's listener, which `create` makes once the client is let in. The caller returns what
       * this returns as the connection's listener. Nothing is held before it is called.
       */
      readonly guard: (connection: Connection, create: () => ConnectionListener) => ConnectionListener;
    }
  | NoAdmission;

/** Why a request may not go on. */
export interface NoAdmission {
  readonly isAdmitted: false;
  /** HTTP status: 401, 403 or 429. */
  readonly status: number;
  readonly reason: 'unauthorized' | 'forbidden' | 'rate_limited';
  readonly message: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Somebody whose request is being answered over HTTP. */
export interface Caller {
  /** Of the API key that the request goes back to; undefined as long as the server asks for none. */
  readonly keyId: string | undefined;
  /** They came with a token that was made with the key, not with the key. */
  readonly isToken: boolean;
}

/** Whether a request is answered over HTTP. Who is let in counts as a session until `leave` is called. */
export type Entrance =
  { readonly isAdmitted: true; readonly caller: Caller; readonly leave: () => void } | NoAdmission;

/** Somebody who was recognised, and what counts against them. */
interface Grant extends Caller {
  readonly shares: readonly Share[];
}

/** An open connection that goes back to a key. */
interface Lease {
  readonly keyId: string | undefined;
  readonly end: (error: AccessError) => void;
}

/** A connection with what speaks on it. */
interface GuardedConnection {
  readonly connection: Connection;
  readonly create: () => ConnectionListener;
  readonly dialect: AccessDialect;
}

const STATUS = { unauthorized: 401, forbidden: 403, rate_limited: 429 } as const;

export class Access {
  readonly #options: AccessOptions;
  readonly #keyRing: KeyRing;
  readonly #rate: RateLimit;
  readonly #quota = new SessionQuota();
  readonly #leases = new Set<Lease>();
  #origins: ReadonlySet<string>;
  #pendingCount = 0;

  constructor(options: AccessOptions) {
    this.#options = options;
    const { config, clock, log } = options;
    this.#origins = new Set(config.allowedOrigins);
    this.#keyRing = new KeyRing({
      path: config.keysFile,
      clock,
      log,
      onRevoked: (keyIds) => {
        this.#revoke(keyIds);
      },
    });
    this.#rate = new RateLimit({
      clock,
      perMinute: config.connectionsPerMinutePerIp,
      burst: Math.max(1, config.connectionsPerMinutePerIp * CONNECTION_BURST_RATIO),
      maxCount: ADDRESS_TABLE_MAX_COUNT,
    });
  }

  /** Whether clients need an API key or a token. Once true it stays so. */
  get asksForKeys(): boolean {
    return this.#keyRing.keySet !== undefined;
  }

  /** Reads the keys. Throws `ConfigError` if there are some that cannot be used. */
  start(): Promise<void> {
    return this.#keyRing.start();
  }

  /** Lets in the pages that the server itself serves at this address. */
  listensOn(address: Parameters<typeof ownOrigins>[0]): void {
    this.#origins = new Set([...this.#options.config.allowedOrigins, ...ownOrigins(address)]);
  }

  /** Reads the keys again. Throws `ConfigError`; those before stay in force then. */
  reload(): Promise<void> {
    return this.#keyRing.reload();
  }

  close(): void {
    this.#keyRing.close();
  }

  /** Counts a request against the rate of its address: first of all, whatever it asks for. The refusal, if there is one. */
  judgeRate(request: Pick<RequestHead, 'remoteAddress'>): NoAdmission | undefined {
    try {
      this.#checkRate(request.remoteAddress);
      return undefined;
    } catch (error) {
      if (!(error instanceof AccessError)) throw error;
      return this.#refusal(error, request);
    }
  }

  /** Judges a request that is to be answered over HTTP, and takes a session's place for it. */
  async enter(request: AccessRequest): Promise<Entrance> {
    try {
      const { shares, ...caller } = await this.#recognise(this.#screen(request), request);
      this.#checkShares(shares);
      return { isAdmitted: true, caller, leave: this.#quota.take(shares) };
    } catch (error) {
      if (!(error instanceof AccessError)) throw error;
      return this.#refusal(error, request);
    }
  }

  /**
   * A token of a caller's key, for `lifeMs` from now on. Where no keys are asked for it is text that nobody checks, so
   * that the clients that get it work there too. Throws `AccessError` (`forbidden`) for a caller with a token: it could
   * outlive itself, and lose what bounds it.
   */
  async issueToken({ keyId, isToken }: Caller, lifeMs: number): Promise<string> {
    if (isToken) throw new AccessError('forbidden', 'a token cannot make tokens; use the API key');
    const { now = () => new Date() } = this.#options;
    const signingSecret = this.#keyRing.keySet?.signingSecret;
    if (keyId === undefined || signingSecret === undefined) return randomUUID();
    return signToken({ keyId, lifeMs, now: now() }, signingSecret);
  }

  /** Judges a request before its upgrade. Nothing is counted yet; sessions are from `guard` on. */
  async judge(request: AccessRequest, dialect: AccessDialect): Promise<Admission> {
    try {
      return await this.#judge(request, dialect);
    } catch (error) {
      if (!(error instanceof AccessError)) throw error;
      return this.#refusal(error, request);
    }
  }

  /** What comes before the question who it is; returns the credential, if one is asked for and there. */
  #screen(request: AccessRequest): string | undefined {
    const origin = request.headers.get('origin');
    if (!isOriginAllowed(origin, this.#origins)) {
      throw new AccessError('forbidden', 'pages of this origin may not connect; add it to allowedOrigins');
    }
    return this.asksForKeys ? credentialOf(request) : undefined;
  }

  async #judge(request: AccessRequest, dialect: AccessDialect): Promise<Admission> {
    const credential = this.#screen(request);
    const marker = protocolMarker(request);
    const protocol = marker === undefined ? {} : { protocol: marker };
    if (this.asksForKeys && credential === undefined) {
      const { tokenOf } = dialect;
      if (tokenOf === undefined) throw missingCredential();
      this.#checkPending();
      this.#checkShares(this.#addressShare(request));
      return {
        isAdmitted: true,
        ...protocol,
        guard: (connection, create) =>
          this.#guardLate({ connection, create, request, dialect: { ...dialect, tokenOf } }),
      };
    }
    const grant = await this.#recognise(credential, request);
    this.#checkShares(grant.shares);
    return {
      isAdmitted: true,
      ...protocol,
      guard: (connection, create) => this.#guard(grant, { connection, create, dialect }),
    };
  }

  #checkRate(remoteAddress: string): void {
    // Behind a proxy on this machine everybody has this machine's address.
    if (isLoopback(remoteAddress)) return;
    const waitMs = this.#rate.take(clientBlock(remoteAddress));
    if (waitMs === 0) return;
    const retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1_000));
    throw new AccessError('rate_limited', 'too many connections from this address; try again later', {
      retryAfterSeconds,
    });
  }

  #checkPending(): void {
    if (this.#pendingCount < PENDING_TOKEN_MAX_COUNT) return;
    const message = 'too many connections wait for their token; send it with the request, or try again later';
    throw new AccessError('rate_limited', message, { retryAfterSeconds: 1 });
  }

  #checkShares(shares: readonly Share[]): void {
    const full = this.#quota.fullShare(shares);
    if (full === undefined) return;
    const message = `${full.holder} has all of its ${full.max} sessions; end one, or try again later`;
    throw new AccessError('rate_limited', message, { retryAfterSeconds: SESSIONS_RETRY_AFTER_SECONDS });
  }

  /** Who it is. Throws `AccessError` (`unauthorized`, `forbidden`). */
  async #recognise(credential: string | undefined, request: AccessRequest): Promise<Grant> {
    const { keySet } = this.#keyRing;
    if (keySet === undefined) {
      return { keyId: undefined, isToken: false, shares: this.#addressShare(request) };
    }
    if (credential === undefined) throw missingCredential();
    if (!isKeyForm(credential)) return this.#recogniseToken(credential, { keySet, request });
    const key = findKey(keySet.keys, credential);
    if (key === undefined) throw new AccessError('unauthorized', 'the API key or token is not valid');
    // A key is an application's: all its users may come from one address.
    return { keyId: key.id, isToken: false, shares: [this.#keyShare(key)] };
  }

  async #recogniseToken(
    token: string,
    { keySet, request }: { readonly keySet: KeySet; readonly request: AccessRequest },
  ): Promise<Grant> {
    const { now = () => new Date() } = this.#options;
    const claims = await verifyToken(token, { signingSecret: keySet.signingSecret, now: now() });
    // Not those of before the check: the key may have been revoked meanwhile.
    const key = this.#keyRing.keySet?.keys.find(({ id }) => id === claims.keyId);
    if (key === undefined) throw new AccessError('unauthorized', 'the key of this token was revoked');
    if (claims.origin !== undefined && claims.origin !== request.headers.get('origin')) {
      throw new AccessError('forbidden', 'this token is for pages of another origin');
    }
    const shares = [this.#keyShare(key), ...this.#addressShare(request)];
    const { tokenId, maxSessions } = claims;
    if (maxSessions !== undefined) {
      shares.push({ name: `token ${tokenId}`, max: maxSessions, holder: 'this token' });
    }
    return { keyId: key.id, isToken: true, shares };
  }

  #keyShare({ id, maxSessions }: ApiKey): Share {
    const max = maxSessions ?? this.#options.config.maxSessionsPerKey;
    return { name: `key ${id}`, max, holder: 'this API key' };
  }

  #addressShare({ remoteAddress }: AccessRequest): Share[] {
    if (isLoopback(remoteAddress)) return [];
    const max = this.#options.config.maxSessionsPerIp;
    return [{ name: `address ${clientBlock(remoteAddress)}`, max, holder: 'this address' }];
  }

  #guard(grant: Grant, { connection, create, dialect }: GuardedConnection): ConnectionListener {
    try {
      return this.#enter(grant, { connection, create, dialect });
    } catch (error) {
      if (!(error instanceof AccessError)) throw error;
      this.#dismiss(error, connection, dialect);
      return DEAF_LISTENER;
    }
  }

  /** Takes the session's place; the judgement may be a while ago. Throws `AccessError`. */
  #enter({ keyId, shares }: Grant, { connection, create, dialect }: GuardedConnection): ConnectionListener {
    if (keyId !== undefined && this.#keyRing.keySet?.keys.every(({ id }) => id !== keyId) === true) {
      throw new AccessError('unauthorized', 'the API key was revoked');
    }
    this.#checkShares(shares);
    const giveBack = this.#quota.take(shares);
    const lease: Lease = {
      keyId,
      end: (error) => {
        this.#say(error, connection, dialect);
      },
    };
    this.#leases.add(lease);
    const leave = (): void => {
      giveBack();
      this.#leases.delete(lease);
    };
    try {
      return new AdmittedListener(create(), leave);
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** Lets a client in that has said nothing of who it is, to hear its token. */
  #guardLate({
    connection,
    create,
    request,
    dialect,
  }: GuardedConnection & {
    readonly request: AccessRequest;
    readonly dialect: Required<AccessDialect>;
  }): ConnectionListener {
    this.#pendingCount++;
    // Counts for its address until it is recognised, and from then on for whoever it is.
    const giveBack = this.#quota.take(this.#addressShare(request));
    return new LateToken({
      clock: this.#options.clock,
      tokenOf: dialect.tokenOf,
      admit: async (token) => {
        const grant = await this.#recognise(token, request);
        giveBack();
        return this.#enter(grant, { connection, create, dialect });
      },
      refuse: (error) => {
        this.#dismiss(error, connection, dialect);
      },
      fault: (error) => {
        this.#options.telemetry.count('errors_total', { class: 'internal' });
        this.#options.log.error('a token could not be checked', { err: error });
      },
      onSettled: () => {
        this.#pendingCount--;
        giveBack();
      },
    });
  }

  #revoke(keyIds: ReadonlySet<string>): void {
    const error = new AccessError('unauthorized', 'the API key was revoked');
    for (const lease of [...this.#leases]) {
      if (lease.keyId !== undefined && keyIds.has(lease.keyId)) lease.end(error);
    }
    this.#options.log.info('keys revoked', { keyIds: [...keyIds] });
  }

  #refusal(error: AccessError, request: Pick<RequestHead, 'remoteAddress'>): NoAdmission {
    const { code: reason, message, retryAfterSeconds } = error;
    this.#options.log.info('connection refused', { reason, remoteAddress: request.remoteAddress });
    return {
      isAdmitted: false,
      status: STATUS[reason],
      reason,
      message,
      headers: {
        ...(reason === 'unauthorized' ? { 'WWW-Authenticate': 'Bearer' } : {}),
        ...(retryAfterSeconds === undefined ? {} : { 'Retry-After': String(retryAfterSeconds) }),
      },
    };
  }

  /** Refuses somebody whose connection is open already, but whose session is not. */
  #dismiss(error: TranscriptionError, connection: Connection, dialect: AccessDialect): void {
    const { telemetry, log } = this.#options;
    if (error instanceof AccessError) telemetry.count('sessions_refused_total', { reason: error.code });
    log.info('connection dismissed', { reason: error.code, remoteAddress: connection.remoteAddress });
    this.#say(error, connection, dialect);
  }

  #say(error: TranscriptionError, connection: Connection, dialect: AccessDialect): void {
    countError(this.#options.telemetry, error);
    const text = dialect.errorText(error);
    if (text !== undefined) connection.sendText(text);
    const { code, reason } = dialect.closingOf(error);
    connection.close(code, reason);
  }
}
