/**
 * `node preparation_main.js <RecogniserOptions as JSON>`: prepares a model's graphs for the CPU or, if they name another
 * device, for accelerators, apart from the gateway.
 */
import {
  prepareForAccelerators,
  prepareRecogniser,
  type RecogniserOptions,
} from '../../models/recogniser.ts';
import { CPU } from './devices.ts';
import { EXIT_ORPHANED } from '../../pipeline/errors.ts';
import { ignoreStraySignals } from '../stray_signals.ts';

// Nobody waits for it any more. What it leaves behind is swept by the next preparation.
process.once('disconnect', () => process.exit(EXIT_ORPHANED));
// A terminal's Ctrl-C and systemd's SIGTERM reach the whole group; the parent decides when this ends.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
ignoreStraySignals();
const options = JSON.parse(process.argv[2] ?? '{}') as RecogniserOptions;
if (options.device === CPU) {
  const { warning } = await prepareRecogniser(options);
  if (warning !== undefined) process.stderr.write(`${warning}\n`);
} else {
  await prepareForAccelerators(options);
}
process.exit(0);
