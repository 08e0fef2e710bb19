/**
 * `npm run test:chaos -- [--tier p|nightly] [--only] [--except R-21] [--seed N] [--strict] [--minutes N] [--at-once N]`:
 * breaks things and counts what is lost. The soak, R-38, runs nightly, for an hour, or in any tier for as long as
 * `--minutes` says. Each row has a process of its own; figures of time are those of the product only one at a time.
 */
import { fork } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  outcomeOfThrow,
  renderOutcomes,
  type Load,
  type Outcome,
  type RowOrder,
  type Scenario,
  type Tier,
} from './scenario.ts';
import { scenariosOf } from './scenarios.ts';

const { values } = parseArgs({
  options: {
    tier: { type: 'string', default: 'p' },
    only: { type: 'string' },
    except: { type: 'string' },
    seed: { type: 'string', default: String(process.pid) },
    strict: { type: 'boolean', default: false },
    minutes: { type: 'string' },
    'at-once': { type: 'string', default: '1' },
  },
});
const tier: Tier = values.tier === 'nightly' ? 'nightly' : 'p';
const seed = Number(values.seed);
const minutes = values.minutes ?? (tier === 'nightly' ? '60' : undefined);
const soakMinutes = minutes === undefined ? undefined : Number(minutes);
const wanted = values.only?.split(',');
const unwanted = values.except?.split(',') ?? [];
const scenarios = scenariosOf(soakMinutes).filter(
  ({ id }) => (wanted === undefined || wanted.includes(id)) && !unwanted.includes(id),
);
console.log(`chaos: tier ${tier}, seed ${seed}, Node ${process.version}, ${cpus().length} cores`);
const outcomes = new Map<string, Outcome>();
const light = rowsOf(undefined);
await Promise.all([
  runAll(rowsOf('crowd')).then(() => runAll(light)),
  ...Array.from({ length: Number(values['at-once']) - 1 }, () => runAll(light)),
]);
await runAll(rowsOf('machine'));
const rows = scenarios.flatMap((scenario) => {
  const outcome = outcomes.get(scenario.id);
  return outcome === undefined ? [] : [{ scenario, outcome }];
});
console.log(`\n${renderOutcomes(rows)}`);
const failed = rows.filter(
  ({ outcome: { violations, misses } }) => violations.length > 0 || (values.strict && misses.length > 0),
);
console.log(`${rows.length - failed.length} passed, ${failed.length} failed`);
process.exit(failed.length === 0 && rows.length > 0 ? 0 : 1);

function rowsOf(load: Load | undefined): Iterable<Scenario> {
  return scenarios.filter((scenario) => scenario.load === load).values();
}

/** One after the other; another call takes its share of them. */
async function runAll(waiting: Iterable<Scenario>): Promise<void> {
  for (const { id, title } of waiting) {
    const startedAtMs = performance.now();
    const outcome = await runApart({ id, tier, seed, soakMinutes }).catch(outcomeOfThrow);
    outcomes.set(id, outcome);
    const seconds = Math.round((performance.now() - startedAtMs) / 1_000);
    const faults = [...outcome.violations, ...outcome.misses].join('; ');
    console.log(`${id} ${title}: ${seconds} s ${faults || 'kept'}`);
  }
}

/** One row in a process of its own: what a row leaves behind, or breaks, is not the next one's. */
function runApart(order: RowOrder): Promise<Outcome> {
  const child = fork(fileURLToPath(new URL('chaos_row_main.js', import.meta.url)), [JSON.stringify(order)]);
  return new Promise((resolve, reject) => {
    child.once('message', (outcome) => {
      resolve(outcome as Outcome);
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      reject(new Error(`its process ended (${signal ?? String(code)})`));
    });
  });
}
