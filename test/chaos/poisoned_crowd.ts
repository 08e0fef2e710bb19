/** audio that ends workers, among audio that does not. */
import { join } from 'node:path';
import {
  faultyWorker,
  startFaultyServer,
  temporaryFolder,
  upload,
  type Fault,
  type FaultyServer,
} from '../support/faulty_worker.ts';
import { pcmMessages, withMark } from '../support/marked_speech.ts';
import { joinedText, RawClient } from '../support/raw_client.ts';
import { fetchSample } from '../support/real_server.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise } from '../support/speech.ts';
import type { Outcome, Scenario } from './scenario.ts';
import { Verdict } from './verdict.ts';

const FAULTS: readonly Fault[] = ['SIGSEGV', 'exit', 'SIGABRT', 'SIGBUS'];
const [FIRST_POISON, FIRST_GOOD] = [25_000, 26_000];
/** Poison that comes at once: each ends two workers, and of those a slot gets five in ten seconds. */
const WAVE_COUNT = 5;
const REFUSAL_MAX_MS = 5;
/** One turn of a busy machine is longer than that; a worker's death, which is what a refusal saves, takes longer still. */
const REFUSAL_FAILS_AT_RATIO = 20;

export const POISONED_CROWD: Scenario = {
  id: 'R-06',
  title: 'poison among good traffic',
  run: (tier) => mixPoison(tier === 'p' ? { poison: 4, good: 12 } : { poison: 20, good: 50 }),
};

/** One utterance that carries a mark. */
export async function markedSpeech(mark: number): Promise<Int16Array> {
  const words = await synthesise('good morning', { voice: 'rms' });
  return concat(silence(300), withMark(words, mark), silence(700));
}

/** Deaths of inference workers so far, whatever ended them. */
export async function deathCount(server: FaultyServer): Promise<number> {
  const causes = ['signal', 'exit', 'deadline'];
  const counts = await Promise.all(
    causes.map((cause) =>
      fetchSample(server, `earwitness_worker_deaths_total{role="inference",cause="${cause}"}`),
    ),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Good and poisonous uploads side by side, the poison once more, and once more after a restart. */
export async function mixPoison(counts: {
  readonly poison: number;
  readonly good: number;
}): Promise<Outcome> {
  const verdict = new Verdict();
  const folder = await temporaryFolder();
  const marks = Array.from({ length: counts.poison }, (_, i) => FIRST_POISON + i);
  const rules = marks.map((mark, i) => ({ mark, fault: FAULTS[i % FAULTS.length] ?? 'exit' }));
  const start = (): Promise<FaultyServer> =>
    startFaultyServer({ folder: join(folder.path), worker: faultyWorker({ rules }) });
  let server = await start();
  try {
    let lost = 0;
    for (let first = 0; first < marks.length; first += WAVE_COUNT) {
      const wave = marks.slice(first, first + WAVE_COUNT);
      const share = Math.ceil((counts.good * wave.length) / marks.length);
      const good = Array.from({ length: share }, (_, i) => FIRST_GOOD + 50 * first + i);
      const [, heard] = await Promise.all([
        Promise.all(wave.map((mark) => expectGivenUp(server, mark, verdict))),
        Promise.all(good.map((mark) => isHeard(server, mark))),
      ]);
      lost += heard.filter((isWell) => !isWell).length;
    }
    const deaths = await deathCount(server);
    verdict.expect(deaths === 2 * marks.length, `${deaths} deaths, not two for each of ${marks.length}`);
    const known = await fetchSample(server, 'earwitness_quarantined_contents');
    verdict.expect(known === marks.length, `${known} of ${marks.length} quarantined`);
    const tookMs = await uploadAgain(server, marks, verdict);
    verdict.expect((await deathCount(server)) === deaths, 'a third upload ended a worker');
    verdict.measure('refused within', tookMs, {
      ...{ max: REFUSAL_MAX_MS, unit: 'ms', failsAtRatio: REFUSAL_FAILS_AT_RATIO },
    });
    await server.close();
    server = await start();
    await expectGivenUp(server, FIRST_POISON, verdict);
    verdict.expect((await deathCount(server)) === 0, 'a server that was started again has forgotten');
    return verdict.outcome(deaths, { utterances: counts.good, lost, repeated: 0, wrong: 0 });
  } finally {
    await server.close();
    await folder.remove();
  }
}

/** Poison costs its own utterance the text, and its session nothing else. */
async function expectGivenUp(server: FaultyServer, mark: number, verdict: Verdict): Promise<void> {
  const client = await upload(server, await markedSpeech(mark));
  const texts = client.of('final').map(({ text }) => text);
  verdict.expect(client.of('notice')[0]?.code === 'utterance_failed', 'poison without a notice');
  verdict.expect(texts.length === 1 && texts[0] === '', `poison gave the texts ${JSON.stringify(texts)}`);
  verdict.expect(client.messages.at(-1)?.type === 'done', 'a session ended by its poison');
}

async function isHeard(server: FaultyServer, mark: number): Promise<boolean> {
  const client = await upload(server, await markedSpeech(mark));
  const isCharged = client.of('notice').some(({ code }) => code === 'utterance_failed');
  return !isCharged && joinedText(client.of('final')) === String(mark);
}

/** Uploads what is known to be poison; the longest time from the end of an utterance to its refusal, in ms. */
async function uploadAgain(
  server: FaultyServer,
  marks: readonly number[],
  verdict: Verdict,
): Promise<number> {
  let longestMs = 0;
  for (const mark of marks) {
    const client = await RawClient.enter(server.url, 'encoding=pcm_s16le&partials=false');
    let endedAtMs = -Infinity;
    client.socket.on('message', () => {
      const last = client.messages.at(-1)?.type;
      if (last === 'speechEnd') endedAtMs = performance.now();
      if (last === 'notice') longestMs = Math.max(longestMs, performance.now() - endedAtMs);
    });
    for (const message of pcmMessages(await markedSpeech(mark))) client.sendBytes(message);
    await client.finish();
    verdict.expect(client.of('notice')[0]?.code === 'utterance_failed', 'known poison was not refused');
  }
  const refused = await fetchSample(server, 'earwitness_quarantine_refusals_total{kind="final"}');
  verdict.expect(refused === marks.length, `${refused} of ${marks.length} refusals counted`);
  return longestMs;
}
