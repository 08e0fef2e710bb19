/**
 * Runs simulated worlds: `node dist/test/sim/sim_main.js --seeds 1000 [--from N] [--seconds-max S]`, or one of them with its
 * whole trace: `--seed N --trace`. `--twice` runs each world twice and compares the traces. Exits with 1 at the first violation.
 */
import { parseArgs } from 'node:util';
import type { Outcome } from './outcome.ts';
import { simulate } from './world.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    twice: { type: 'boolean', default: false },
    'seconds-max': { type: 'string', default: '3600' },
  },
});

process.on('unhandledRejection', (error) => {
  process.stdout.write(`VIOLATION an unhandled rejection: ${String(error)}\n`);
  process.exit(1);
});

const first = Number(values.seed ?? values.from);
const count = values.seed === undefined ? Number(values.seeds) : 1;
const startedAtMs = performance.now();
const totals = { worlds: 0, events: 0, virtualMs: 0, finals: 0, processes: 0 };
for (let seed = first; seed < first + count; seed++) {
  if (performance.now() - startedAtMs > Number(values['seconds-max']) * 1_000) break;
  const outcome = await simulate(seed, { keepsTrace: values.trace });
  if (values.trace) process.stdout.write(outcome.trace);
  if (outcome.violations.length > 0) failWith(outcome);
  if (values.twice) {
    const again = await simulate(seed);
    if (again.digest !== outcome.digest) {
      process.stdout.write(`VIOLATION seed=${seed} gives two different traces\n`);
      process.exit(1);
    }
  }
  totals.worlds++;
  totals.events += outcome.eventCount;
  totals.virtualMs += outcome.virtualMs;
  totals.finals += outcome.finalCount;
  totals.processes += outcome.processCount;
}
const seconds = (performance.now() - startedAtMs) / 1_000;
process.stdout.write(
  `${totals.worlds} worlds from seed ${first} in ${seconds.toFixed(1)} s: ${totals.events} events, ` +
    `${(totals.virtualMs / 3_600_000).toFixed(1)} virtual hours, ${totals.finals} finals, ` +
    `${totals.processes} processes, 0 violations\n`,
);

function failWith(outcome: Outcome): never {
  const { seed, violations, activeFaults, trace } = outcome;
  if (!values.trace) process.stdout.write(`the end of the trace:\n${trace}`);
  process.stdout.write(`faults: ${activeFaults.join(' ')}\n`);
  for (const { rule, detail, atMs } of violations) {
    process.stdout.write(`VIOLATION seed=${seed} at ${atMs.toFixed(1)} ms: ${rule} ${detail}\n`);
  }
  process.stdout.write(`replay: node ${process.argv[1] ?? ''} --seed ${seed} --trace\n`);
  process.exit(1);
}
