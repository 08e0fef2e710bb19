/** A process that ends and leaves another behind, which holds its pipes open for so many ms: `parting_main.js MS`. */
import { spawn } from 'node:child_process';

const heir = spawn(process.execPath, ['-e', `setTimeout(() => undefined, ${process.argv[2] ?? '0'})`], {
  detached: true,
  stdio: ['ignore', 'inherit', 'inherit'],
});
heir.once('spawn', () => {
  process.exit(7);
});
