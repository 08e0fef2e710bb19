/** What came of one simulated world. */

/** A rule that was broken. */
export interface Violation {
  /** I1 … I9 of the simulation's rules, or `threw`. */
  readonly rule: string;
  readonly detail: string;
  readonly atMs: number;
}

export interface Outcome {
  readonly seed: number;
  readonly violations: readonly Violation[];
  /** SHA-256 of the trace. */
  readonly digest: string;
  /** Readable trace: all of it if that was asked for, else its end. */
  readonly trace: string;
  readonly eventCount: number;
  readonly virtualMs: number;
  readonly finalCount: number;
  readonly processCount: number;
  readonly activeFaults: readonly string[];
}
