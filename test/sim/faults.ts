/** What goes wrong in one simulated world: each point is active with p = 0.25, and then fires at its rate until faults stop. */
import type { Dice } from './dice.ts';

const ACTIVE_PROBABILITY = 0.25;

/** Every point at which a fault can be put in, and its rate where it is active: per job, per message, per start, per death. */
export const FAULT_RATES = {
  // Inference workers, per job.
  inferenceKillBefore: 0.25,
  inferenceKillMid: 0.25,
  inferenceKillAfter: 0.25,
  inferenceLoseResult: 0.25,
  inferenceHang: 0.1,
  inferenceSlow: 0.25,
  inferenceRefuse: 0.1,
  // Audio workers, per message or per run of the detector.
  audioKillBefore: 0.01,
  audioKillMid: 0.003,
  audioKillAfter: 0.01,
  audioLoseOutputs: 0.01,
  audioHang: 0.003,
  audioBusy: 0.25,
  // Any process: per start, per piece of work, per signal, per death.
  startFailure: 0.25,
  startSlow: 0.25,
  startHang: 0.05,
  leak: 0.25,
  unkillable: 0.25,
  haunt: 0.5,
  // Once a second.
  randomKill: 0.25,
  stall: 0.1,
  diskFull: 0.5,
  diskBroken: 0.25,
  diskStuck: 0.25,
  clockJump: 0.25,
  memoryPressure: 0.25,
  // Once a world.
  drain: 0.5,
  crowd: 0.25,
  abruptClose: 0.5,
} as const;

export type FaultPoint = keyof typeof FAULT_RATES;
const POINTS = Object.keys(FAULT_RATES) as FaultPoint[];

export class Faults {
  readonly #dice: Dice;
  readonly #active = new Set<FaultPoint>();
  readonly #firedCounts = new Map<FaultPoint, number>();
  #isOver = false;

  constructor(dice: Dice) {
    this.#dice = dice;
    for (const point of POINTS) if (dice.chance(ACTIVE_PROBABILITY)) this.#active.add(point);
  }

  /** The points that are active in this world. */
  get active(): readonly FaultPoint[] {
    return [...this.#active];
  }

  /** How often each point fired. */
  get firedCounts(): ReadonlyMap<FaultPoint, number> {
    return this.#firedCounts;
  }

  fires(point: FaultPoint): boolean {
    if (this.#isOver || !this.#active.has(point) || !this.#dice.chance(FAULT_RATES[point])) return false;
    this.#firedCounts.set(point, (this.#firedCounts.get(point) ?? 0) + 1);
    return true;
  }

  /** Nothing fires any more. */
  stop(): void {
    this.#isOver = true;
  }
}
