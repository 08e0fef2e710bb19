/** `npm run observability`: writes the dashboards, the rules and METRICS.md. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { dirname } from 'node:path';
import { generatedFiles } from './generated_files.ts';

/** Seen from the compiled program. */
const FOLDER = new URL('../../grafana/', import.meta.url);

for (const { path, content } of await generatedFiles()) {
  const target = fileURLToPath(new URL(path, FOLDER));
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, content);
}
