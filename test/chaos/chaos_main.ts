/**
 * `npm run test:chaos -- [--tier p|nightly] [--only] [--except R-21] [--seed N] [--strict] [--minutes N]`: breaks things and
 * counts what is lost. The soak, R-38, runs nightly, for an hour, or in any tier for as long as `--minutes` says.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { GATEWAY_DEATHS } from './gateway_deaths.ts';
import { HUNG_JOBS } from './hung_jobs.ts';
import { HOSTILE_CLIENTS } from './hostile_clients.ts';
import { HOSTILE_FRAMES } from './hostile_frames.ts';
import { HOSTILE_STRANGERS } from './hostile_strangers.ts';
import { OVERLOADS } from './overload.ts';
import { outcomeOfThrow, renderOutcomes, type Outcome, type Scenario, type Tier } from './scenario.ts';
import { SERVER_FAULTS } from './server_faults.ts';
import { soakOf } from './soak.ts';
import { WORKER_DEATHS } from './worker_deaths.ts';

const { values } = parseArgs({
  options: {
    tier: { type: 'string', default: 'p' },
    only: { type: 'string' },
    except: { type: 'string' },
    seed: { type: 'string', default: String(process.pid) },
    strict: { type: 'boolean', default: false },
    minutes: { type: 'string' },
  },
});
const tier: Tier = values.tier === 'nightly' ? 'nightly' : 'p';
const seed = Number(values.seed);
const wanted = values.only?.split(',');
const unwanted = values.except?.split(',') ?? [];
const scenarios: readonly Scenario[] = [
  ...[...WORKER_DEATHS, HUNG_JOBS],
  ...GATEWAY_DEATHS,
  ...OVERLOADS,
  ...[...HOSTILE_CLIENTS, ...HOSTILE_FRAMES, ...HOSTILE_STRANGERS],
  ...SERVER_FAULTS,
  ...(tier === 'nightly' || values.minutes !== undefined ? [soakOf(Number(values.minutes ?? 60))] : []),
].filter(({ id }) => (wanted === undefined || wanted.includes(id)) && !unwanted.includes(id));
console.log(`chaos: tier ${tier}, seed ${seed}, Node ${process.version}, ${cpus().length} cores`);
const rows: { readonly scenario: Scenario; readonly outcome: Outcome }[] = [];
await Promise.all(scenarios.filter(({ bearsCompany }) => bearsCompany === true).map(run));
for (const scenario of scenarios) if (scenario.bearsCompany !== true) await run(scenario);
rows.sort((one, other) => scenarios.indexOf(one.scenario) - scenarios.indexOf(other.scenario));
console.log(`\n${renderOutcomes(rows)}`);
const failed = rows.filter(
  ({ outcome: { violations, misses } }) => violations.length > 0 || (values.strict && misses.length > 0),
);
console.log(`${rows.length - failed.length} passed, ${failed.length} failed`);
process.exit(failed.length === 0 && rows.length > 0 ? 0 : 1);

async function run(scenario: Scenario): Promise<void> {
  const startedAtMs = performance.now();
  const outcome = await scenario.run(tier, seed).catch(outcomeOfThrow);
  rows.push({ scenario, outcome });
  const seconds = Math.round((performance.now() - startedAtMs) / 1_000);
  console.log(
    `${scenario.id} ${scenario.title}: ${seconds} s ${[...outcome.violations, ...outcome.misses].join('; ') || 'kept'}`,
  );
}
