/** Wires the concrete parts into a running server. */
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import type { WorkerAudioPool } from '../pipeline/audio_pool.ts';
import { systemClock, type Clock } from '../pipeline/clock.ts';
import { DraftAudit } from '../pipeline/draft_audit.ts';
import type { WorkerInferencePool } from '../pipeline/inference_pool.ts';
import { isAtLeast, type Rung } from '../pipeline/load_ladder.ts';
import { PoisonMemory } from '../pipeline/poison_memory.ts';
import { Scheduler } from '../pipeline/scheduler.ts';
import { Access } from './access/access.ts';
import { createAdminServer, isReady, type AdminServer, type Health, type WorkerReport } from './admin.ts';
import type { Config } from './config.ts';
import { chooseDevice } from './workers/device_trial.ts';
import { AUTO, CPU } from './workers/devices.ts';
import { ClientPort, type ClientPortOptions } from './client_port.ts';
import { CrashReports } from './records/crash_reports.ts';
import type { DialectParts } from './dialects/dialect.ts';
import { createDialects } from './dialects/dialects.ts';
import { judgeExposure } from './access/exposure.ts';
import { GatewayGauges } from './records/gateway_gauges.ts';
import { GpuProbe, queryNvidiaSmi } from './records/gpu_probe.ts';
import { judgeHealth } from './health.ts';
import { httpUrl } from './http_url.ts';
import { checkHost, CLIENT_PORT_SETTINGS } from './transport/listen_fault.ts';
import { LoadMonitor, loadOfScheduler, type LoadReading } from './load_monitor.ts';
import type { Log, RootLog } from './records/log.ts';
import { memoryLimitBytes } from './memory_limit.ts';
import { MemoryRoom, proportionalBytes } from './memory_room.ts';
import { createMetrics, type Metrics } from './records/metrics.ts';
import { OtlpExporter } from './records/otlp_exporter.ts';
import { DiskQuarantine } from './records/quarantine.ts';
import { PageFiles } from './transport/page_files.ts';
import { Readiness } from './readiness.ts';
import { SessionChronicle } from './records/session_chronicle.ts';
import { SessionRegistry } from './session_registry.ts';
import { SlowedWorkers } from './workers/slowed_workers.ts';
import type { SupervisorLink } from './supervisor_link.ts';
import { readTlsFiles } from './transport/tls_files.ts';
import type { TlsFiles, TlsIdentity, Transport } from './transport/transport.ts';
import { TrustedProxies } from './access/trusted_proxies.ts';
import { chooseTransport } from './transport/transport_choice.ts';
import { VERSION } from './version.ts';
import { voskDialect } from './dialects/vosk_dialect.ts';
import type { WorkerModule } from './workers/worker_launchers.ts';
import { createAudioPool, createInferencePool, type PoolContext } from './workers/worker_pools.ts';

/** A server that listens; its workers may still be loading. */
export interface RunningServer {
  /** `http://host:port` of the clients' port; `https:` with TLS. */
  readonly url: string;
  /** The same of the port on which every path speaks vosk; undefined if there is none. */
  readonly voskUrl: string | undefined;
  /** `http://host:port` of the operators' port. */
  readonly adminUrl: string;
  /**
   * Resolves when sessions can be served. Rejects when the workers cannot start: with `ConfigError` (`model_missing`)
   * if a restart does not help, else with `InferenceError` (`unavailable`).
   */
  readonly ready: Promise<void>;
  /** What an operator should know, one sentence each. */
  readonly warnings: readonly string[];
  /** Reads keys and certificate again. What cannot be used is logged, and what was before stays in force. */
  reload(): Promise<void>;
  /** Refuses new sessions, sends what is owed, then closes. Bounded by DRAIN_MAX_MS. */
  drain(): Promise<void>;
  /** Ends everything now. Idempotent. */
  close(): Promise<void>;
}

/** What a caller may add, and a test replace. */
export interface ServerParts {
  /** Ends the trial of devices; a server that has started is closed. */
  readonly signal?: AbortSignal;
  readonly workerModules?: Partial<Record<'audio' | 'inference', WorkerModule>>;
  /** What a supervisor above this process has counted. */
  readonly supervisor?: Pick<SupervisorLink, 'counts'>;
  /** What inference workers run on, instead of the configured device. */
  readonly device?: string;
  /** Changes what is read of the load. */
  readonly disturbLoad?: (reading: LoadReading) => LoadReading;
}

/**
 * Starts a server; with the device `auto`, the devices are tried first. Throws `ConfigError` when it cannot listen, and
 * the signal's reason while devices are tried.
 */
export async function startServer(
  config: Config,
  log: RootLog,
  parts: ServerParts = {},
): Promise<RunningServer> {
  const { device = config.device, signal } = parts;
  const chosen = device === AUTO ? await chooseDevice(config, { log, signal }) : device;
  const gateway = new Gateway(config, log, { ...parts, device: chosen });
  try {
    return await gateway.start();
  } catch (error) {
    await gateway.close();
    throw error;
  }
}

/** What the log says when the load has led to a rung, from above or below. */
const RUNG_EVENTS: Readonly<Record<Rung, string>> = {
  calm: 'load: back to normal, nothing is given up',
  partials_suspended: 'load: no partials',
  refusing: 'load: no partials and no new sessions',
  shedding: 'load: no partials, no new sessions, and quiet sessions are ended',
};

/** Where the build leaves the page. */
const PAGE_FOLDER = fileURLToPath(new URL('../page/', import.meta.url));
const UNSUPERVISED = { counts: { restarts: 0, reports: 0 } };

class Gateway {
  readonly #config: Config;
  readonly #log: RootLog;
  readonly #metrics: Metrics;
  readonly #crashReports: CrashReports;
  readonly #quarantine: DiskQuarantine;
  readonly #poisonMemory: PoisonMemory;
  readonly #inferencePool: WorkerInferencePool;
  readonly #audioPool: WorkerAudioPool;
  readonly #draftAudit: DraftAudit;
  readonly #scheduler: Scheduler;
  readonly #access: Access;
  readonly #registry: SessionRegistry;
  readonly #admin: AdminServer;
  readonly #clients: ClientPort;
  readonly #voskClients: ClientPort | undefined;
  readonly #readiness = new Readiness();
  readonly #slowedWorkers: SlowedWorkers;
  readonly #gpuProbe: GpuProbe;
  readonly #spans: OtlpExporter | undefined;
  readonly #chronicle: SessionChronicle;
  readonly #load: LoadMonitor;
  readonly #memoryRoom: MemoryRoom;
  #closed: Promise<void> | undefined;

  constructor(config: Config, log: RootLog, parts: ServerParts) {
    const { workerModules = {}, device, disturbLoad, supervisor = UNSUPERVISED } = parts;
    this.#config = config;
    this.#log = log;
    this.#slowedWorkers = new SlowedWorkers(log);
    this.#memoryRoom = new MemoryRoom({
      limitBytes: memoryLimitBytes(),
      own: { pid: process.pid, rssBytes: () => process.memoryUsage.rss() },
      proportionalBytes,
      onTight: (facts) => {
        log.warn(
          'the memory limit leaves little or no room beside the workers: raise it, or use fewer',
          facts,
        );
      },
    });
    const choice = chooseTransport(config.transport, { hasTls: config.tlsCert !== '' });
    log.info('transport chosen', { transport: choice.name, reason: choice.reason });
    this.#metrics = createMetrics({
      version: VERSION,
      transport: choice.name,
      model: config.model,
      device: device ?? config.device,
    });
    this.#gpuProbe = new GpuProbe({ ...this.#context(), query: queryNvidiaSmi });
    this.#spans = this.#createExporter();
    this.#chronicle = new SessionChronicle({ ...this.#context(), listener: this.#spans });
    this.#crashReports = new CrashReports({
      folder: config.crashDir,
      maxCount: config.crashReportsMax,
      ...this.#context(),
    });
    this.#quarantine = this.#createQuarantine();
    this.#poisonMemory = new PoisonMemory({ clock: systemClock, quarantine: this.#quarantine });
    const context: PoolContext = {
      log,
      telemetry: this.#metrics,
      crashReports: this.#crashReports,
      workerModules,
      device: device ?? config.device,
      onChange: () => {
        this.#slowedWorkers.tell(this.#workers());
        this.#readiness.judge(this.#health(), this.#workers());
        this.#scheduler.pump();
      },
    };
    this.#inferencePool = createInferencePool(config, context);
    this.#audioPool = createAudioPool(config, context);
    this.#draftAudit = this.#createDraftAudit(context.device === CPU);
    this.#scheduler = this.#createScheduler();
    this.#access = new Access({ config, clock: systemClock, telemetry: this.#metrics, log });
    this.#registry = this.#createRegistry();
    this.#load = this.#createLoadMonitor(disturbLoad ?? ((reading) => reading));
    this.#admin = this.#createAdmin();
    this.#clients = this.#createPort(choice.create(), {
      dialects: createDialects(config.dialects, this.#dialectParts()),
      page: new PageFiles(PAGE_FOLDER),
    });
    if (config.voskPort !== '') {
      const vosk = { ...voskDialect(this.#dialectParts()), path: '*' };
      this.#voskClients = this.#createPort(choice.create(), { dialects: [vosk] });
    }
    const gauges = this.#createGauges(supervisor);
    this.#metrics.setCollector('gateway', (telemetry) => {
      gauges.report(telemetry);
    });
  }

  async start(): Promise<RunningServer> {
    const { host, port, adminHost } = this.#config;
    await checkHost({ settings: CLIENT_PORT_SETTINGS, host, port });
    await this.#access.start();
    const warnings = this.#judgeExposure();
    const admin = await this.#admin.start();
    const tlsFiles = tlsFilesOf(this.#config);
    const tls = tlsFiles && readTlsFiles(tlsFiles);
    const clients = await this.#clients.listen({ host, port, tls });
    const address = { host, port: clients.port, isSecure: tls !== undefined };
    this.#access.listensOn(address);
    const vosk = await this.#voskClients?.listen({ host, port: Number(this.#config.voskPort), tls });
    await Promise.all([this.#crashReports.open(), this.#quarantine.open()]);
    this.#audioPool.start();
    this.#inferencePool.start();
    this.#registry.start();
    this.#load.start();
    this.#gpuProbe.start();
    return {
      url: httpUrl(address),
      voskUrl: vosk && httpUrl({ ...address, port: vosk.port }),
      adminUrl: httpUrl({ host: adminHost, port: admin.port, isSecure: false }),
      ready: this.#readiness.promise,
      warnings,
      reload: () => this.#reload(),
      drain: () => this.#drain(),
      close: () => this.close(),
    };
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  #judgeExposure(): readonly string[] {
    const { host, adminHost, insecure, allowedOrigins, tlsCert } = this.#config;
    const warnings = judgeExposure({
      host,
      adminHost,
      hasKeys: this.#access.asksForKeys,
      isInsecure: insecure,
      hasTls: tlsCert !== '',
      allowedOrigins,
    });
    for (const warning of warnings) this.#log.warn('exposed', { warning });
    return warnings;
  }

  async #reload(): Promise<void> {
    const tls = tlsFilesOf(this.#config);
    const parts: (readonly [what: string, read: () => Promise<void>])[] = [];
    if (this.#config.keysFile !== '') parts.push(['keys', () => this.#access.reload()]);
    if (tls !== undefined) parts.push(['certificate', () => this.#renewTls(readTlsFiles(tls))]);
    for (const [what, read] of parts) {
      try {
        await read();
        this.#log.info('read again', { what });
      } catch (error) {
        this.#log.error('could not be read again: what was before stays in force', { what, err: error });
      }
    }
  }

  async #renewTls(tls: TlsIdentity): Promise<void> {
    await this.#clients.renewTls(tls);
    await this.#voskClients?.renewTls(tls);
  }

  async #drain(): Promise<void> {
    this.#clients.stopListening();
    this.#voskClients?.stopListening();
    await this.#registry.drain();
  }

  async #close(): Promise<void> {
    this.#access.close();
    this.#gpuProbe.close();
    this.#load.close();
    this.#registry.close();
    this.#scheduler.close();
    this.#draftAudit.close();
    await Promise.all([this.#clients.close(), this.#voskClients?.close()]);
    // No session is left that could add a span.
    const pools = [this.#audioPool.close(), this.#inferencePool.close()];
    await Promise.all([this.#admin.close(), ...pools, this.#spans?.close()]);
    await Promise.all([this.#crashReports.close(), this.#quarantine.close()]);
  }

  #createPort(transport: Transport, spoken: Pick<ClientPortOptions, 'dialects' | 'page'>): ClientPort {
    return new ClientPort({
      ...{ transport, ...spoken, access: this.#access, registry: this.#registry },
      ...{ telemetry: this.#metrics, log: this.#log },
      trustedProxies: new TrustedProxies(this.#config.trustedProxies),
    });
  }

  #dialectParts(): DialectParts {
    const { silenceMs, maxUtteranceMs, model, voskSampleRateHz } = this.#config;
    return {
      ...{ registry: this.#registry, clock: systemClock, telemetry: this.#metrics, tokens: this.#access },
      ...{ now: () => new Date(), defaults: { silenceMs, maxUtteranceMs, model, voskSampleRateHz } },
    };
  }

  #context(): { clock: Clock; now: () => Date; telemetry: Metrics; log: Log } {
    return { clock: systemClock, now: () => new Date(), telemetry: this.#metrics, log: this.#log };
  }

  #createQuarantine(): DiskQuarantine {
    return new DiskQuarantine({
      folder: this.#config.quarantineDir,
      mode: this.#config.quarantine,
      model: this.#config.model,
      ...this.#context(),
      onKnown: (poison, ageMs) => {
        this.#poisonMemory.remember(poison, ageMs);
      },
      onForgotten: (hash) => {
        this.#poisonMemory.forget(hash);
      },
    });
  }

  #createDraftAudit(isExact: boolean): DraftAudit {
    return new DraftAudit({ ...this.#context(), pool: this.#inferencePool, isExact });
  }

  #createExporter(): OtlpExporter | undefined {
    const { otlpEndpoint } = this.#config;
    if (otlpEndpoint === '') return undefined;
    return new OtlpExporter({ ...this.#context(), endpoint: otlpEndpoint, version: VERSION });
  }

  #createScheduler(): Scheduler {
    return new Scheduler({
      pool: this.#draftAudit,
      clock: systemClock,
      telemetry: this.#metrics,
      partialIntervalMs: this.#config.partialIntervalMs,
      poisonMemory: this.#poisonMemory,
      onPartialsSuspended: (suspended) => {
        if (suspended) this.#log.warn('partials are suspended for load');
        else this.#log.info('partials are back');
        this.#registry.tellPartialsSuspended(suspended);
      },
    });
  }

  #createRegistry(): SessionRegistry {
    return new SessionRegistry({
      audioPool: this.#audioPool,
      scheduler: this.#scheduler,
      clock: systemClock,
      telemetry: this.#metrics,
      maxSessions: this.#config.maxSessions,
      isReady: () => isReady(this.#health()),
      isRefusing: () => isAtLeast(this.#load.rung, 'refusing'),
      onFault: (error, sessionId) => {
        this.#log.error('a session failed on our side', { sessionId, err: error });
      },
      chronicle: this.#chronicle,
    });
  }

  #createLoadMonitor(disturb: (reading: LoadReading) => LoadReading): LoadMonitor {
    return new LoadMonitor({
      clock: systemClock,
      read: () => disturb(this.#readLoad()),
      onRung: (rung, why) => {
        this.#log.warn(RUNG_EVENTS[rung], why);
        this.#scheduler.holdPartials(isAtLeast(rung, 'partials_suspended'));
      },
      shed: () => {
        if (this.#registry.isDraining || !this.#registry.shedQuietest()) return false;
        this.#log.warn('a quiet session was ended for load');
        return true;
      },
    });
  }

  #readLoad(): LoadReading {
    return loadOfScheduler(this.#scheduler, {
      slotCount: this.#inferencePool.slotCount,
      audioBusyMs: this.#audioPool.busyMs,
      audioWorkerCount: Math.min(this.#audioPool.readyCount, this.#config.audioWorkers),
      loopBusyMs: performance.eventLoopUtilization().active,
      memoryRatio: this.#memoryRoom.usedRatio(this.#workers()),
    });
  }

  #createAdmin(): AdminServer {
    return createAdminServer({
      host: this.#config.adminHost,
      port: this.#config.adminPort,
      metrics: this.#metrics,
      health: () => this.#health(),
      workers: () => this.#workers(),
      traces: this.#chronicle,
      onError: (error) => {
        this.#log.error('the admin port failed to answer', { err: error });
      },
    });
  }

  #workers(): readonly WorkerReport[] {
    return [
      ...this.#audioPool.statuses().map((status) => ({ role: 'audio' as const, ...status })),
      ...this.#inferencePool.statuses().map((status) => ({ role: 'inference' as const, ...status })),
    ];
  }

  #health(): Health {
    const { audioWorkers } = this.#config;
    return judgeHealth({
      workers: this.#workers(),
      slotCount: this.#inferencePool.slotCount,
      wantedSlotCount: this.#inferencePool.wantedSlotCount,
      audioCount: Math.min(this.#audioPool.readyCount, audioWorkers),
      wantedAudioCount: audioWorkers,
      isDraining: this.#registry.isDraining,
      refusedFor: this.#load.refusedFor,
    });
  }

  #createGauges(supervisor: Pick<SupervisorLink, 'counts'>): GatewayGauges {
    return new GatewayGauges({
      ...{
        registry: this.#registry,
        load: this.#load,
        scheduler: this.#scheduler,
        log: this.#log,
        supervisor,
      },
      ...{ audioPool: this.#audioPool, inferencePool: this.#inferencePool, poisonMemory: this.#poisonMemory },
      ports: this.#voskClients === undefined ? [this.#clients] : [this.#clients, this.#voskClients],
      maxSessions: this.#config.maxSessions,
      workers: () => this.#workers(),
      health: () => this.#health(),
    });
  }
}

function tlsFilesOf({ tlsCert, tlsKey }: Config): TlsFiles | undefined {
  return tlsCert === '' ? undefined : { certPath: tlsCert, keyPath: tlsKey };
}
