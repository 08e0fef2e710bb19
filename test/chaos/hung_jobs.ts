/** C6: a job that never ends costs its worker at its deadline, and nobody else anything. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { JOB_DEADLINE_EXTENSION_MAX_COUNT, JOB_DEADLINE_MIN_MS } from '../../pipeline/limits.ts';
import {
  faultyWorker,
  startFaultyServer,
  temporaryFolder,
  upload,
  type FaultyServer,
} from '../support/faulty_worker.ts';
import { joinedText } from '../support/raw_client.ts';
import { markedSpeech } from './poisoned_crowd.ts';
import { percentile, type Outcome, type Scenario, type Tier } from './scenario.ts';
import { Verdict } from './verdict.ts';

const [FIRST_HUNG, FIRST_GOOD] = [28_000, 29_000];
/** From a job's deadline to the end of its worker. */
const KILLED_MAX_MS = 250;
/** On a machine so busy that the loop itself hardly runs, the deadline is extended, and the machine is to blame. */
const KILLED_FAILS_AT_RATIO = (2 * JOB_DEADLINE_MIN_MS * JOB_DEADLINE_EXTENSION_MAX_COUNT) / KILLED_MAX_MS;
/** What a hang may add to the utterances that the other slot serves. */
const DELAY_MAX_MS = 50;
const DELAY_FAILS_AT_RATIO = 10;
/** Utterances of somebody else while one job hangs, and as many before the first does. */
const GOOD_COUNT = 8;
/** Deaths park a slot at more than five in ten seconds. */
const REST_MS = 500;

export const HUNG_JOBS: Scenario = { id: 'R-04a', title: 'jobs that never end', run: hangAgainAndAgain };

async function hangAgainAndAgain(tier: Tier): Promise<Outcome> {
  const times = tier === 'p' ? 4 : 40;
  const verdict = new Verdict();
  const folder = await temporaryFolder();
  const rules = Array.from({ length: times }, (_, i) => ({
    ...{ mark: FIRST_HUNG + i, fault: 'loop' as const, onceFile: join(folder.path, `hung-${i}`) },
  }));
  const server = await startFaultyServer({ folder: folder.path, worker: faultyWorker({ rules }) });
  const lateMs: number[] = [];
  let lost = 0;
  try {
    const usualMs = await waitsBeside(server, FIRST_GOOD, Promise.resolve());
    const besideMs: number[] = [];
    for (const [i, { mark, onceFile }] of rules.entries()) {
      const died = nextDeath(server);
      const hung = upload(server, await markedSpeech(mark));
      besideMs.push(...(await waitsBeside(server, FIRST_GOOD + (i + 1) * GOOD_COUNT, died)));
      // The file is made by the worker that got the job, when it got it. Speech this short has the shortest deadline.
      lateMs.push((await died) - (await stat(onceFile)).mtimeMs - JOB_DEADLINE_MIN_MS);
      if (joinedText((await hung).of('final')) !== String(mark)) lost++;
      await pause(REST_MS);
    }
    verdict.measure('killed after the deadline', Math.max(...lateMs), {
      ...{ max: KILLED_MAX_MS, unit: 'ms', failsAtRatio: KILLED_FAILS_AT_RATIO },
    });
    verdict.expect(Math.min(...lateMs) > -KILLED_MAX_MS, 'a worker was killed before its deadline');
    const added = Math.max(0, percentile(besideMs, 0.9) - percentile(usualMs, 0.9));
    verdict.measure('others waited longer by', added, {
      ...{ max: DELAY_MAX_MS, unit: 'ms', failsAtRatio: DELAY_FAILS_AT_RATIO },
    });
    return verdict.outcome(times, { utterances: times, lost, repeated: 0, wrong: 0 });
  } finally {
    await server.close();
    await folder.remove();
  }
}

/** When the next death of a worker is logged, on the wall clock that files carry too. */
function nextDeath(server: FaultyServer): Promise<number> {
  const known = loggedDeaths(server);
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (loggedDeaths(server) === known) return;
      clearInterval(timer);
      resolve(performance.timeOrigin + performance.now());
    }, 2);
  });
}

function loggedDeaths({ log }: FaultyServer): number {
  return log.lines.filter(({ event }) => event === 'inference worker died').length;
}

/** How long somebody else waits for each final, from the end of the utterance on, while `until` has not come. */
async function waitsBeside(
  server: FaultyServer,
  firstMark: number,
  until: Promise<unknown>,
): Promise<readonly number[]> {
  const waitsMs: number[] = [];
  for (let i = 0; i < GOOD_COUNT; i++) {
    const startedAtMs = performance.now();
    await upload(server, await markedSpeech(firstMark + i));
    waitsMs.push(performance.now() - startedAtMs);
  }
  await until;
  return waitsMs;
}
