import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { DEFAULT_RECOGNISER, SILERO_VAD_V5, type ModelEntry } from '../../models/catalogue.ts';
import { ConfigError, EXIT_CONFIG } from '../../pipeline/errors.ts';
import type { WorkerExit, WorkerLauncher } from '../../pipeline/worker_process.ts';
import { loadConfig, type Config } from '../../server/config.ts';
import { startServer } from '../../server/gateway.ts';
import { audioLauncher, inferenceLauncher } from '../../server/workers/worker_launchers.ts';
import { FEW_WORKERS, fetchWorkers, KeptLog } from '../support/real_server.ts';
import { weightPath } from '../support/weights.ts';

/** A models folder in which the files of `damaged` are there and wrong; the other models are right. */
async function damagedModelsDir(folder: string, damaged: ModelEntry): Promise<string> {
  for (const { id, files } of [DEFAULT_RECOGNISER, SILERO_VAD_V5]) {
    const modelDir = join(folder, id);
    if (id !== damaged.id) {
      await symlink(dirname(weightPath(id, files[0]?.name ?? '')), modelDir);
      continue;
    }
    await mkdir(modelDir);
    for (const { name } of files) await writeFile(join(modelDir, name), 'no graph at all');
  }
  return folder;
}

function exitOf<Request, Reply>(launch: WorkerLauncher<Request, Reply>): Promise<WorkerExit> {
  return new Promise((resolve) => {
    launch({ message: () => undefined, ended: () => undefined, exited: resolve });
  });
}

describe('a start that no restart can help', () => {
  for (const [role, damaged] of [
    ['audio', SILERO_VAD_V5],
    ['inference', DEFAULT_RECOGNISER],
  ] as const) {
    it(`[SUP60] damaged weights of the ${role} worker: one line, status 42, no restart, model_missing`, async (test) => {
      const folder = await mkdtemp(join(tmpdir(), 'earwitness-damaged-'));
      test.after(() => rm(folder, { recursive: true }));
      const config: Config = {
        ...loadConfig({}).config,
        ...{ host: '127.0.0.1', port: 0, adminPort: 0, keysFile: '', model: DEFAULT_RECOGNISER.id },
        ...FEW_WORKERS,
        maxSessions: 1,
        ...{ crashDir: join(folder, 'crashes'), quarantineDir: join(folder, 'quarantine') },
        modelsDir: await damagedModelsDir(folder, damaged),
      };
      const exit = await (role === 'audio'
        ? exitOf(audioLauncher(config, {}))
        : exitOf(inferenceLauncher(config, {})));
      assert.equal(exit.code, EXIT_CONFIG, exit.stderrTail);
      assert.match(exit.stderrTail, /(^|\n)earwitness: [^\n]+\n$/);
      assert.doesNotMatch(exit.stderrTail, /\n {4}at /);

      const log = new KeptLog();
      const server = await startServer(config, log);
      try {
        await assert.rejects(
          server.ready,
          (error) => error instanceof ConfigError && error.code === 'model_missing',
        );
        const [worker] = (await fetchWorkers(server)).filter((each) => each.role === role);
        assert.deepEqual([worker?.state, worker?.restarts], ['failed', 0]);
        assert.equal(log.lines.filter((line) => line.event === `${role} worker died`).length, 1);
      } finally {
        await server.close();
      }
    });
  }
});
