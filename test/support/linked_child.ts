/** Says who asks it to stop, and ends with that; given `late`, it looks up only after a while of standing still. */
import { watchSignals } from '../../server/signal_watch.ts';
import { isSupervised, SUPERVISED_ARGUMENT } from '../../server/supervisor_link.ts';

const STANDSTILL_MS = 200;

process.send?.('there');
if (process.argv.includes('late')) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STANDSTILL_MS);
  await new Promise((resolve) => setImmediate(resolve));
}
const signals = watchSignals(isSupervised(process.argv.includes(SUPERVISED_ARGUMENT)));
process.on('message', (message) => {
  if (message === 'signal') process.kill(process.pid, 'SIGTERM');
});
// Whoever asks while it stands still must not end it for lack of anything to do.
const stayAlive = setInterval(() => undefined, STANDSTILL_MS);
const reason = await signals.first;
clearInterval(stayAlive);
signals.close();
if (process.connected) process.send?.(reason, () => process.exit());
else process.exit();
