/**
 * Alerts on how fast an objective's budget is spent, over two windows each: the long one says that it matters, the
 * short one that it still goes on (Beyer et al., The Site Reliability Workbook, chapter 5).
 */
import { FINAL_OBJECTIVE_SECONDS, FINALS_IN_TIME, UTTERANCES_KEPT, type Objective } from './objectives.ts';
import { Queries, ratio } from './promql.ts';
import { trueSpan, type Alert, type RecordingRule, type Span } from './rules.ts';

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WINDOWS_SECONDS = [5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, 3 * DAY];

interface Burn {
  readonly suffix: string;
  readonly severity: Alert['severity'];
  /** How many times faster than the budget allows; 1 would spend it in 30 days. */
  readonly factor: number;
  readonly longSeconds: number;
  readonly shortSeconds: number;
  readonly spends: string;
}

const BURNS: readonly Burn[] = [
  {
    suffix: 'Fast',
    severity: 'page',
    factor: 14.4,
    longSeconds: HOUR,
    shortSeconds: 5 * MINUTE,
    spends: 'a fiftieth of the budget of 30 days in an hour',
  },
  {
    suffix: 'Slow',
    severity: 'page',
    factor: 6,
    longSeconds: 6 * HOUR,
    shortSeconds: 30 * MINUTE,
    spends: 'a twentieth of the budget of 30 days in six hours',
  },
  {
    suffix: 'Creeping',
    severity: 'ticket',
    factor: 1,
    longSeconds: 3 * DAY,
    shortSeconds: 6 * HOUR,
    spends: 'the budget of 30 days, all of it, if it goes on',
  },
];

/** The share that was bad, over every window that alerts and dashboards ask for. Names keep the true windows. */
export function objectiveRecordings(span: Span): readonly RecordingRule[] {
  return WINDOWS_SECONDS.flatMap((seconds) => {
    const query = new Queries({ matchers: '', window: span(seconds) });
    const by = { by: ['job'] } as const;
    const late = query.observedAbove('final_latency_seconds', FINAL_OBJECTIVE_SECONDS, by);
    const failed = query.perSecond('utterances_total', { where: { outcome: 'failed' }, ...by });
    return [
      {
        record: recordedName(FINALS_IN_TIME, seconds),
        expr: ratio(late, query.observed('final_latency_seconds', by)),
      },
      {
        record: recordedName(UTTERANCES_KEPT, seconds),
        expr: ratio(failed, query.perSecond('utterances_total', by)),
      },
    ];
  });
}

interface BurnText {
  readonly name: string;
  readonly objective: Objective;
  readonly meaning: string;
  readonly action: string;
  readonly dashboard: string;
}

const TEXTS: readonly BurnText[] = [
  {
    name: 'EarwitnessFinalsLate',
    objective: FINALS_IN_TIME,
    meaning: `People wait for text: more finals than the objective allows come later than ${FINAL_OBJECTIVE_SECONDS} s after the end of their utterance.`,
    action:
      '1. Overview, Load by source: if finals or final_wait is high, add an instance or inference workers. 2. Pipeline: the first row that is bad is the cause. 3. Workers and faults: deaths make finals late by one run each.',
    dashboard: 'earwitness-pipeline',
  },
  {
    name: 'EarwitnessUtterancesLost',
    objective: UTTERANCES_KEPT,
    meaning:
      'Words are lost: for some utterances no final could be computed, and clients got what the last partial said.',
    action:
      '1. `earwitness crashes list`: which worker died, and of what. 2. `earwitness quarantine list`: audio that ended two workers is refused. 3. If workers cannot start, the log says why; roll back if a release came before it.',
    dashboard: 'earwitness-workers',
  },
];

/** Three alerts for each objective. */
export function burnAlerts(): readonly Alert[] {
  return TEXTS.flatMap(({ name, objective, meaning, action, dashboard }) =>
    BURNS.map((burn) => {
      const limit = Number((burn.factor * objective.budgetRatio).toPrecision(3));
      const long = recordedName(objective, burn.longSeconds);
      const short = recordedName(objective, burn.shortSeconds);
      return {
        name: `${name}${burn.suffix}`,
        severity: burn.severity,
        expr: `${long} > ${limit} and ${short} > ${limit}`,
        forSeconds: 0,
        summary: `{{ $value | humanizePercentage }} of the last ${trueSpan(burn.longSeconds)} missed the objective: ${objective.title}`,
        meaning: `${meaning} At this rate that spends ${burn.spends}.`,
        action,
        dashboard,
      };
    }),
  );
}

function recordedName({ recorded }: Objective, seconds: number): string {
  return `${recorded}${trueSpan(seconds)}`;
}
