/** Every simulated process, how it ended, and what the supervisor was told of it: rule I7. */
import type { WorkerDeath } from '../../pipeline/supervised_worker.ts';
import type { Accuse } from './scripted_audio.ts';

export type Role = 'audio' | 'inference';

interface Entry {
  readonly role: Role;
  /** Why the supervisor may kill it: it does not answer, does not start, or works for too long. */
  isFaulty: boolean;
  wasReady: boolean;
  wasStopped: boolean;
  wasKilled: boolean;
  endedBy: 'exit' | 'signal' | undefined;
  /** Its end has been told to the gateway, or SIGKILL did not end it. */
  isKnown: boolean;
  reportCount: number;
}

export class ProcessLedger {
  readonly #accuse: Accuse;
  readonly #entries = new Map<number, Entry>();
  #isClosing = false;

  constructor(accuse: Accuse) {
    this.#accuse = accuse;
  }

  get processCount(): number {
    return this.#entries.size;
  }

  /** A new process; returns its pid. */
  open(role: Role): { readonly pid: number; readonly entry: Entry } {
    const pid = 1_000 + this.#entries.size;
    const entry: Entry = {
      role,
      isFaulty: false,
      wasReady: false,
      wasStopped: false,
      wasKilled: false,
      endedBy: undefined,
      isKnown: false,
      reportCount: 0,
    };
    this.#entries.set(pid, entry);
    return { pid, entry };
  }

  /** From here on the pools end their workers themselves, and need not say so. */
  close(): void {
    this.#isClosing = true;
  }

  /** The supervisor sent SIGKILL. */
  noteKill(pid: number): void {
    const entry = this.#entries.get(pid);
    if (entry === undefined) return;
    entry.wasKilled = true;
    if (this.#isClosing || entry.wasStopped || entry.isFaulty || entry.endedBy !== undefined) return;
    this.#accuse('I7', `the ${entry.role} process ${pid} was killed although it did nothing wrong`);
  }

  /** The pool told of a death. */
  noteReport(role: Role, death: WorkerDeath): void {
    const entry = this.#entries.get(death.pid);
    if (entry?.role !== role) {
      this.#accuse('I7', `a death of the unknown ${role} process ${death.pid} was reported`);
      return;
    }
    entry.reportCount++;
    if (entry.reportCount > 1) this.#accuse('I7', `the death of ${death.pid} was reported twice`);
    if (!entry.isKnown && !entry.wasKilled) this.#accuse('I7', `${death.pid} was reported dead but lives`);
    const expected = expectedCauses(entry);
    if (!expected.includes(death.cause)) {
      this.#accuse(
        'I7',
        `the death of ${death.pid} was put down to ${death.cause}, not ${expected.join('/')}`,
      );
    }
  }

  /** Every process whose end was told has been reported once. */
  checkSettled(): void {
    for (const [pid, entry] of this.#entries) {
      if (entry.isKnown && entry.reportCount !== 1) {
        this.#accuse(
          'I7',
          `the death of ${entry.role} process ${pid} was reported ${entry.reportCount} times`,
        );
      }
    }
  }

  /** No process is left. */
  checkEnded(): void {
    for (const [pid, entry] of this.#entries) {
      if (entry.endedBy === undefined)
        this.#accuse('I9', `the ${entry.role} process ${pid} outlives the server`);
    }
  }
}

export type LedgerEntry = Entry;

function expectedCauses(entry: Entry): readonly WorkerDeath['cause'][] {
  if (entry.wasStopped) return ['memory'];
  if (entry.wasKilled) return ['hang', 'deadline', 'start'];
  if (!entry.wasReady) return ['start'];
  return [entry.endedBy === 'signal' ? 'signal' : 'exit'];
}
