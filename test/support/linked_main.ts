/** Says who asks it to stop, and ends with that; given `late`, it listens only when its channel may have gone already. */
import { setTimeout } from 'node:timers/promises';
import { watchSignals } from '../../server/signal_watch.ts';
import { isSupervised, SUPERVISED_ARGUMENT } from '../../server/supervisor_link.ts';

const LOADING_MS = 200;

const isLate = process.argv.includes('late');
if (isLate) {
  process.send?.('there');
  await setTimeout(LOADING_MS);
}
const signals = watchSignals(isSupervised(process.argv.includes(SUPERVISED_ARGUMENT)));
process.on('message', (message) => {
  if (message === 'signal') process.kill(process.pid, 'SIGTERM');
});
const stayAlive = setInterval(() => undefined, LOADING_MS);
if (!isLate) process.send?.('there');
const reason = await signals.first;
clearInterval(stayAlive);
signals.close();
if (process.connected) process.send?.(reason, () => process.exit());
else process.exit();
