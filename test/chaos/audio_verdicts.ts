/** every recording of the corpus, each with its verdict. */
import { fetchSample, type RealServer } from '../support/real_server.ts';
import { RawClient } from '../support/raw_client.ts';
import { AUDIO_CORPUS, type AudioItem } from './audio_corpus.ts';
import { CONTAINER_CORPUS } from './container_corpus.ts';
import { startDigestServer } from './digest_crowd.ts';
import type { Outcome, Scenario, Tier } from './scenario.ts';
import { Verdict } from './verdict.ts';

/** Every recording. */
export const CORPUS: readonly AudioItem[] = [...AUDIO_CORPUS, ...CONTAINER_CORPUS];
/** Items at a time: each is sent as fast as it goes. */
const LANES = 4;

export const AUDIO_VERDICTS: Scenario = {
  id: 'R-19',
  title: 'unusual audio, each with its verdict (uws, ws)',
  run: judgeCorpus,
};

async function judgeCorpus(tier: Tier): Promise<Outcome> {
  const verdict = new Verdict();
  const rounds = tier === 'p' ? 1 : 5;
  for (const transport of ['uws', 'ws'] as const) {
    const server = await startDigestServer({ transport, audioWorkers: 2 });
    try {
      const waiting = Array.from({ length: rounds }, () => CORPUS).flat();
      const lane = async (): Promise<void> => {
        for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) {
          const given = await listenTo(server, item);
          verdict.expect(
            given === item.verdict,
            `${transport}: ${item.title}: ${given}, not ${item.verdict}`,
          );
        }
      };
      await Promise.all(Array.from({ length: LANES }, lane));
      const deaths = server.log.lines.filter(({ event }) => event.endsWith('worker died')).length;
      verdict.expect(deaths === 0, `${transport}: ${deaths} workers died`);
      const traps = await fetchSample(server, 'earwitness_opus_traps_total');
      verdict.expect(traps === 0, `${transport}: the codec trapped`);
    } finally {
      await server.close();
    }
  }
  verdict.figure(`${CORPUS.length} recordings`);
  return verdict.outcome(2 * rounds * CORPUS.length);
}

/** Sends an item in a session of its own and puts into words what became of it. */
export async function listenTo(server: RealServer, item: AudioItem): Promise<AudioItem['verdict']> {
  const client = await RawClient.enter(server.url, item.query);
  for (const message of await item.messages()) {
    if (client.socket.readyState !== client.socket.OPEN) break;
    client.sendBytes(message);
  }
  if (client.socket.readyState === client.socket.OPEN) await client.finish();
  else await client.closed;
  return verdictOf(client);
}

function verdictOf(client: RawClient): AudioItem['verdict'] {
  const [error] = client.of('error');
  if (error !== undefined) return `refused: ${error.code}`;
  if (client.messages.at(-1)?.type !== 'done') return 'cut off';
  const isTold = client.of('notice').some(({ code }) => code === 'packets_lost');
  if (client.of('final').length > 0) return isTold ? 'heard, packets lost' : 'heard';
  return isTold ? 'nothing heard, packets lost' : 'nothing heard';
}
