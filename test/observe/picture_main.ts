/**
 * `node dist/test/observe/picture_main.js`: a real server, people who speak, more and more of them, a worker that is
 * killed, and a real Prometheus; then the overview of these minutes as `grafana/overview.svg`.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setTimeout as pause } from 'node:timers/promises';
import { speak, writeScripts, type Script } from '../chaos/crowd.ts';
import { sendSignal } from '../chaos/worker_deaths.ts';
import { fetchWorkers, startRealServer } from '../support/real_server.ts';
import { RealPrometheus } from './prometheus.ts';

const ROOT = new URL('../../../', import.meta.url);
const pathOf = (path: string): string => fileURLToPath(new URL(path, ROOT));
const MINUTES = 3;
/** Groups of people; each comes later than the one before and leaves with it. */
const GROUPS = 4;
const PEOPLE_PER_GROUP = 1;

const everyMs = (MINUTES * 60_000) / GROUPS;
// Before anything is measured: it takes seconds, and this process is the server's, too.
const groups: (readonly Script[])[] = [];
for (let group = 0; group < GROUPS; group++)
  groups.push(await writeScripts(PEOPLE_PER_GROUP, everyMs * (GROUPS - group)));
const server = await startRealServer({ inferenceWorkers: 1, maxSessions: 50, maxSessionsPerIp: 50 });
const prometheus = await RealPrometheus.start({
  targets: [new URL(server.adminUrl).host],
  rules: ['recording_rules', 'alerts'].map((name) =>
    readFileSync(pathOf(`grafana/alerts/${name}.yaml`), 'utf8'),
  ),
  intervalMs: 1_000,
});
try {
  const talks: Promise<unknown>[] = [];
  for (const [group, scripts] of groups.entries()) {
    // Some may find the server full: that is in the picture, too.
    talks.push(speak(server.url, scripts).catch(() => undefined));
    if (group === 2) {
      const [victim] = (await fetchWorkers(server)).filter(
        ({ role, state }) => role === 'inference' && state === 'ready',
      );
      if (victim !== undefined) sendSignal(victim.pid, 'SIGKILL');
    }
    await pause(everyMs);
  }
  const svg = execFileSync(process.execPath, [
    pathOf('dist/grafana/render_main.js'),
    prometheus.url,
    String(MINUTES),
  ]);
  writeFileSync(pathOf('grafana/overview.svg'), svg);
  await Promise.all(talks);
} finally {
  await prometheus.close();
  await server.close();
}
