/**
 * How many sessions this machine carries when each speaks all the time, and when each speaks a tenth of it: two
 * searches of `earwitness load --find-capacity`, whose other options may follow.
 * `node dist/test/bench/capacity_bench_main.js [--duration 60s] [--sessions 10] [--processes 2] [--url ws://…]`
 *
 * Who speaks all the time is still silent for 1.5 s after each sentence, so that it has a final of its own: some two
 * thirds of the time are sound. Without `--url` the server and the load share the machine, and the server has the
 * settings of the environment: `EARWITNESS_MAX_SESSIONS`, where the machine carries more than it admits.
 */
import { runCli } from '../../server/commands/cli.ts';
import { machineLine } from './processor_time.ts';

const TALK_RATIOS = ['1', '0.1'];
/**
 * A final soon after the end was decided, and something new to read every second for whoever speaks; of gaps between
 * partials one in a hundred may be longer, because nothing is sent where the text has not changed. The bound from the
 * last sound is there because a server that is late with everything decides late too, which nothing else would show.
 */
const PROMISES =
  'final_p95<=300ms,partial_gap_p99<=1s,true_end_p95<1s,lost=0,unanswered=0,repeated=0,crossed=0,refused=0,failed=0';
/** Long enough that who speaks a tenth of the time has said something. */
const TRIAL_DURATION = '60s';
/** All was measured, and some of it was not enough: no reason to leave out the next search. */
const MEASURED: readonly number[] = [0, 1];

console.log(machineLine('onnxruntime-node'));
for (const talkRatio of TALK_RATIOS) {
  console.log(`\n--talk-ratio ${talkRatio}:`);
  const options = ['--talk-ratio', talkRatio, '--assert', PROMISES, '--duration', TRIAL_DURATION];
  const args = ['load', '--find-capacity', ...options, ...process.argv.slice(2)];
  const status = await runCli(args, { stdout: process.stdout, stderr: process.stderr });
  process.exitCode = Math.max(Number(process.exitCode ?? 0), status);
  if (!MEASURED.includes(status)) break;
}
