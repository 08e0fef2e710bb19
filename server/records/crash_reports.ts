/**
 * A report of every death of a process, as JSON in a bounded folder. Writing never throws, never waits for the disk
 * and never ends the server: what cannot be written is counted and logged instead.
 */
import type { Clock } from '../../pipeline/clock.ts';
import { CRASH_LOG_STDERR_MAX_BYTES, CRASH_REPORTS_MAX_BYTES } from '../../pipeline/limits.ts';
import type { DeathCause } from '../../pipeline/supervised_worker.ts';
import type { Telemetry } from '../../pipeline/telemetry.ts';
import { describeDeath } from './exit_cause.ts';
import { DiskQueue } from './disk_queue.ts';
import type { Log } from './log.ts';
import { findNodeReport, isNodeReport, readNodeReport } from './node_report.ts';
import { PrivateFolder, type FileSystem } from './private_folder.ts';
import { scrub } from './scrubbing.ts';
import { VERSION } from '../version.ts';

export type CrashRole = 'audio' | 'inference' | 'gateway';

/** A job that ran when its worker died: enough to know the audio again, nothing of what was said. */
export interface CrashedJob {
  readonly jobId: number;
  readonly durationMs: number;
  /** SHA-256 of its PCM in hex; the quarantine's name of the same audio begins with it. */
  readonly contentHash: string;
}

/** What is known of a death. */
export interface CrashFacts {
  readonly role: CrashRole;
  readonly pid: number;
  /** 1 for the first process of its place; the restarts are one less. */
  readonly generation: number;
  readonly uptimeMs: number;
  readonly code: number | null;
  readonly signal: string | null;
  /** Whether it ended by itself (`exit`, `signal`), before it was ready (`start`), or why we ended it. */
  readonly kind: DeathCause;
  /** When it was last asked, at most a heartbeat before. */
  readonly rssBytes: number;
  /** In flight. */
  readonly jobs: readonly CrashedJob[];
  /** Sessions that were rebuilt in another process. */
  readonly sessionsReplayed: number;
  readonly stderrTail: string;
}

/** One report, as it is on disk. */
export interface CrashReport extends CrashFacts {
  readonly version: 1;
  /** Sorts by time. */
  readonly id: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  /** The end in words. */
  readonly cause: string;
  /** Node's own report beside this one, where V8 left one. */
  readonly nodeReport: { readonly file: string; readonly bytes: number } | null;
  readonly versions: Readonly<Record<'earwitness' | 'node' | 'platform', string>>;
}

export interface CrashReportsOptions {
  readonly folder: string;
  readonly maxCount: number;
  readonly clock: Clock;
  /** The wall clock. */
  readonly now: () => Date;
  readonly telemetry: Telemetry;
  readonly log: Log;
  readonly files?: FileSystem;
}

/** Names of the files in a folder of crash reports: `<time>-<role>-<pid>.json`, and Node's own. */
const NAME = /^\d{8}T\d{9}Z-(audio|inference|gateway)-\d+(\.node)?\.json$/;

/** The id of a report by its file's name; undefined for any other file. */
export function crashIdOf(name: string): string | undefined {
  return NAME.test(name) && !name.endsWith('.node.json') ? name.slice(0, -'.json'.length) : undefined;
}

export class CrashReports {
  readonly #options: CrashReportsOptions;
  readonly #folder: PrivateFolder;
  readonly #queue: DiskQueue;

  constructor(options: CrashReportsOptions) {
    this.#options = options;
    const { folder: path, maxCount, now, files, clock } = options;
    this.#queue = new DiskQueue(clock);
    this.#folder = new PrivateFolder({
      path,
      bounds: { maxCount, maxBytes: CRASH_REPORTS_MAX_BYTES },
      isOurs: (name) => NAME.test(name) || isNodeReport(name),
      now,
      ...(files === undefined ? {} : { files }),
    });
  }

  /** Where workers leave Node's own reports. */
  get folder(): string {
    return this.#options.folder;
  }

  /** Prepares the folder. Never rejects, and does not wait for long: a server that cannot write reports still serves. */
  async open(): Promise<void> {
    this.#queue.push(() => this.#prepare());
    await this.#queue.settled();
  }

  async #prepare(): Promise<void> {
    try {
      await this.#folder.open(() => {
        this.#options.log.warn('others can look into the folder of crash reports, but read none', {
          folder: this.folder,
        });
      });
      // Of workers that died with their gateway: no report tells of them, and they hold the whole environment.
      for (const name of await this.#folder.names()) if (isNodeReport(name)) await this.#folder.remove(name);
    } catch (error) {
      this.#options.log.warn('crash reports cannot be written', {
        folder: this.folder,
        cause: textOf(error),
      });
    }
  }

  /** Writes a report when its turn comes; returns its id at once. */
  record(facts: CrashFacts): string {
    const report = createReport(facts, this.#options.now());
    if (this.#queue.push(() => this.#write(report)) === 'full') {
      this.#fail(report, new Error('too many reports wait for the disk'));
    }
    return report.id;
  }

  /** Resolves when all reports are written, or the disk does not answer. */
  close(): Promise<void> {
    return this.#queue.settled();
  }

  async #write(report: CrashReport): Promise<void> {
    try {
      const nodeReport = await this.#keepNodeReport(report);
      await this.#folder.write(
        `${report.id}.json`,
        Buffer.from(`${JSON.stringify({ ...report, nodeReport }, null, 2)}\n`),
      );
      this.#options.telemetry.count('crash_reports_total', { role: report.role });
      await this.#folder.prune();
    } catch (error) {
      this.#fail(report, error);
    }
  }

  /** Takes over what Node wrote about the process; a report without it is worth as much. */
  async #keepNodeReport({ id, pid }: CrashReport): Promise<CrashReport['nodeReport']> {
    try {
      const name = findNodeReport(await this.#folder.names().catch(() => []), pid);
      if (name === undefined) return null;
      const content = await readNodeReport(this.folder, name);
      await this.#folder.remove(name);
      if (content === undefined) return null;
      const file = `${id}.node.json`;
      const bytes = Buffer.from(content);
      await this.#folder.write(file, bytes);
      return { file, bytes: bytes.length };
    } catch (error) {
      this.#options.log.warn("Node's own report was lost", { err: error });
      return null;
    }
  }

  #fail(report: CrashReport, error: unknown): void {
    const { telemetry, log } = this.#options;
    telemetry.count('crash_record_write_failures_total', {});
    const stderrTail = report.stderrTail.slice(-CRASH_LOG_STDERR_MAX_BYTES);
    log.error('crash report not written', { report: { ...report, stderrTail }, cause: textOf(error) });
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function createReport(facts: CrashFacts, now: Date): CrashReport {
  const at = now.toISOString();
  return {
    version: 1,
    id: `${at.replaceAll(/[-:.]/g, '')}-${facts.role}-${facts.pid}`,
    at,
    ...facts,
    uptimeMs: Math.round(facts.uptimeMs),
    cause: describeDeath(facts),
    nodeReport: null,
    versions: {
      earwitness: VERSION,
      node: process.versions.node,
      platform: `${process.platform} ${process.arch}`,
    },
    stderrTail: scrub(facts.stderrTail),
  };
}
