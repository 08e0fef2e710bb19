/** One kind of fault, injected a bounded number of times, and what became of what people said meanwhile. */
import { renderTable } from '../../server/commands/text_table.ts';

export type Tier = 'p' | 'nightly';

export interface Outcome {
  /** Faults that were injected. */
  readonly injected: number;
  /** Undefined, like the three below, where nobody speaks. */
  readonly utterances: number | undefined;
  /** Utterances without a final, with more than one, and with another text than the undisturbed run's. */
  readonly lost: number | undefined;
  readonly repeated: number | undefined;
  readonly wrong: number | undefined;
  /** Further figures, for the table. */
  readonly figures: readonly string[];
  /** What was promised and not kept; empty when all is well. */
  readonly violations: readonly string[];
  /** Bounds that were missed by what may be the machine's doing: they count only with `--strict`. */
  readonly misses: readonly string[];
}

/** The counts of a row in which nobody speaks. */
export const NOBODY_SPEAKS = {
  ...{ utterances: undefined, lost: undefined },
  ...{ repeated: undefined, wrong: undefined },
};

/**
 * Of a row as tier p has it. `crowd`: so many people speak that two such rows are short of processors. `machine`: any
 * other row is too much.
 */
export type Load = 'crowd' | 'machine';

export interface Scenario {
  readonly id: string;
  readonly title: string;
  /** What it asks of the machine. Without it: little, so that several such rows run side by side. */
  readonly load?: Load;
  run(tier: Tier, seed: number): Promise<Outcome>;
}

/** Which row to run, and how. */
export interface RowOrder {
  readonly id: string;
  readonly tier: Tier;
  readonly seed: number;
  readonly soakMinutes: number | undefined;
}

/** Value below which `share` of the sorted values lie; 0 of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

/** Adds the violations that follow from the counts. */
export function judged(outcome: Outcome): Outcome {
  const { lost = 0, repeated = 0, wrong = 0, utterances } = outcome;
  const violations = [...outcome.violations];
  if (lost > 0) violations.push(`${lost} utterances lost`);
  if (repeated > 0) violations.push(`${repeated} utterances repeated`);
  if (wrong > 0) violations.push(`${wrong} wrong texts`);
  if (utterances === 0) violations.push('nothing was said: the scenario proves nothing');
  return { ...outcome, violations };
}

/** A row that could not be run to its end is no row that passed; the others are run all the same. */
export function outcomeOfThrow(error: unknown): Outcome {
  return { injected: 0, ...NOBODY_SPEAKS, figures: [], violations: [`threw ${String(error)}`], misses: [] };
}

/** A table of all outcomes. */
export function renderOutcomes(
  rows: readonly { readonly scenario: Scenario; readonly outcome: Outcome }[],
): string {
  const head = ['test', 'fault', 'injected', 'utterances', 'lost', 'repeated', 'wrong', 'figures'];
  const cells = rows.map(({ scenario, outcome }) => [
    scenario.id,
    scenario.title,
    ...[outcome.injected, outcome.utterances, outcome.lost, outcome.repeated, outcome.wrong].map((count) =>
      count === undefined ? '-' : String(count),
    ),
    outcome.figures.join(', '),
  ]);
  return renderTable([head, ...cells]);
}
