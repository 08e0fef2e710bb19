/**
 * Stands in for npm: `fake_npm_child.js <mode> <tarball> <journal> pack <spec> … --pack-destination <dir>`.
 * Notes its arguments in the journal, one call a line, and then does what `mode` says.
 */
import { appendFileSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [, , mode, tarball = '', journal = '', ...args] = process.argv;
const destination = join(args[args.indexOf('--pack-destination') + 1] ?? '', 'package-1.0.0.tgz');
appendFileSync(journal, `${JSON.stringify(args)}\n`);

if (mode === 'deliver') {
  copyFileSync(tarball, destination);
} else if (mode === 'truncate') {
  const whole = readFileSync(tarball);
  writeFileSync(destination, whole.subarray(0, whole.length >> 1));
} else if (mode === 'offline') {
  process.stderr.write(
    'npm error code ENOTFOUND\nnpm error syscall getaddrinfo\nnpm error errno ENOTFOUND\n',
  );
  process.exitCode = 1;
} else {
  // `hang`: a download that never ends. Only a signal ends this process.
  appendFileSync(journal, `${process.pid}\n`);
  setInterval(() => undefined, 1_000);
}
