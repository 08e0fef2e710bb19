/**
 * The disk of a simulated world, what the server keeps on it, and the wall clock that its files carry: crash reports and
 * quarantine are the real ones. Disks fill up, fail and stand still, and somebody sets the clock.
 */
import { CrashReports } from '../../server/records/crash_reports.ts';
import type { Poison } from '../../pipeline/poison_memory.ts';
import type { WorkerDeath } from '../../pipeline/supervised_worker.ts';
import { DiskQuarantine } from '../../server/records/quarantine.ts';
import { FaultyFileSystem } from '../support/faulty_file_system.ts';
import { KeptLog } from '../support/real_server.ts';
import type { CheckedTelemetry } from './checked_telemetry.ts';
import type { Dice } from './dice.ts';
import type { Faults } from './faults.ts';
import type { Role } from './process_ledger.ts';
import type { Accuse } from './scripted_audio.ts';
import type { SimClock } from './sim_clock.ts';

export interface SimDiskOptions {
  readonly clock: SimClock;
  readonly dice: Dice;
  readonly faults: Faults;
  readonly telemetry: CheckedTelemetry;
  readonly accuse: Accuse;
  /** Whether the wall clock is set now and then; nothing that a client is told may depend on it. */
  readonly jumps: boolean;
  readonly onKnown: (poison: Poison, ageMs: number) => void;
  readonly onForgotten: (contentHash: string) => void;
}

const WALL_ORIGIN_MS = Date.UTC(2030, 0, 1);
const HOUR_MS = 3_600_000;
/** Few, so that the bound is met. */
const REPORTS_MAX_COUNT = 10;
const [REPORTS, POISON] = ['/crashes', '/quarantine'];

export class SimDisk {
  readonly crashReports: CrashReports;
  readonly quarantine: DiskQuarantine;
  readonly #options: SimDiskOptions;
  readonly #files: FaultyFileSystem;
  #jumpedMs = 0;
  #recordCount = 0;
  /** What could not be removed stays. */
  #wasBroken = false;

  constructor(options: SimDiskOptions) {
    this.#options = options;
    const { clock, telemetry, dice } = options;
    this.#files = new FaultyFileSystem(() => this.#now().getTime());
    const common = { clock, telemetry, log: new KeptLog(), files: this.#files, now: () => this.#now() };
    this.crashReports = new CrashReports({ ...common, folder: REPORTS, maxCount: REPORTS_MAX_COUNT });
    this.quarantine = new DiskQuarantine({
      ...{ ...common, folder: POISON, mode: dice.pick(['hash', 'full']), model: 'watermarks' },
      ...{ onKnown: options.onKnown, onForgotten: options.onForgotten },
    });
  }

  open(): void {
    void this.crashReports.open();
    void this.quarantine.open();
  }

  record(role: Role, death: WorkerDeath): void {
    const { pid, generation, cause: kind, exit, uptimeMs, rssBytes } = death;
    this.#recordCount++;
    const work = { role, jobs: [], sessionsReplayed: 0 };
    this.crashReports.record({ ...exit, ...work, pid, generation, uptimeMs, kind, rssBytes });
  }

  /** Once a second: what may happen to a disk and a clock. */
  disturb(): void {
    const { clock, dice, faults, jumps } = this.#options;
    this.#files.freeBytes = faults.fires('diskFull') ? dice.whole(0, 3_000) : Infinity;
    this.#files.tellsFull = dice.chance(0.5);
    this.#files.broken = faults.fires('diskBroken') ? 'EIO: i/o error' : undefined;
    this.#wasBroken ||= this.#files.broken !== undefined;
    if (faults.fires('diskStuck')) {
      this.#files.hold = new Promise((resolve) => {
        clock.outside(dice.magnitude(100, 5_000), resolve);
      });
    }
    if (faults.fires('clockJump')) this.#jumpedMs += (jumps ? 1 : 0) * dice.pick([-HOUR_MS, HOUR_MS]);
  }

  /** From here on it works. */
  calm(): void {
    this.#files.freeBytes = Infinity;
    this.#files.broken = undefined;
  }

  async close(): Promise<void> {
    await Promise.all([this.crashReports.close(), this.quarantine.close()]);
  }

  /** Rules I5 and I7, when everything has come to its end: each death has its report, or is counted as one without. */
  judge(): void {
    const { accuse, telemetry } = this.#options;
    const writtenCount = telemetry.total('crash_reports_total');
    const failedCount = telemetry.total('crash_record_write_failures_total');
    if (writtenCount + failedCount !== this.#recordCount) {
      accuse('I7', `${this.#recordCount} deaths, ${writtenCount} reports and ${failedCount} failures`);
    }
    let reportCount = 0;
    for (const [path, content] of this.#files.contents) {
      if (path.endsWith('.tmp')) {
        if (!this.#wasBroken) accuse('I7', `${path} was left half written`);
        continue;
      }
      if (path.startsWith(REPORTS)) reportCount++;
      if (path.endsWith('.json') && !isWhole(content)) accuse('I7', `${path} is cut off`);
    }
    if (reportCount > REPORTS_MAX_COUNT && !this.#wasBroken) accuse('I5', `${reportCount} reports are kept`);
  }

  #now(): Date {
    return new Date(WALL_ORIGIN_MS + this.#options.clock.elapsedMs + this.#jumpedMs);
  }
}

function isWhole(content: Uint8Array): boolean {
  try {
    return typeof JSON.parse(Buffer.from(content).toString()) === 'object';
  } catch {
    return false;
  }
}
