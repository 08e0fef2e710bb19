/** Ways to transcribe the same speech, compared in turns, so that a noisy machine disturbs all alike. */
import { msToSamples } from '../../pipeline/audio.ts';
import type { Hypothesis, Recogniser } from '../../pipeline/contracts.ts';
import { nextPartialMs } from '../../pipeline/partial_interval.ts';
import { normalisedWords, wordEditCount } from '../../server/load/word_error_rate.ts';
import type { Clip } from './bench_speech.ts';
import { processorMs, realTimeFactor } from './processor_time.ts';
import { transcribeOne } from '../../pipeline/single_recognition.ts';

/**
 * One way: a recogniser, whether it gets its last hypothesis as the draft of the next, whether it may use again what it
 * made of the utterance's earlier partials, and whether partials that cost much come rarer, as those of the scheduler do.
 */
export interface Way {
  readonly name: string;
  readonly recogniser: Recogniser;
  readonly drafts: boolean;
  readonly isStreaming?: boolean;
  readonly isPaced?: boolean;
  /** What the cost of the others is compared with, in a column of this name. */
  readonly yardstick?: string;
}

/** Time between partials. */
export const PARTIAL_INTERVAL_MS = 500;
/** Each clip is run this often in each way, and the cheapest counts: what came on top was somebody else's. */
const ROUNDS = { final: 3, live: 2 } as const;

/** What one clip cost in one way, and what was heard. */
interface Run {
  readonly costMs: number;
  readonly decoderSteps: number;
  readonly heard: readonly Hypothesis[];
}

/** The whole clip at once. */
async function runFinal({ recogniser }: Way, pcm: Int16Array): Promise<Hypothesis[]> {
  return [await transcribeOne(recogniser, { pcm, draft: [] })];
}

/** Each run is an utterance of its own. */
let liveCount = 0;

/** The clip as a live stream: the growing utterance after each interval, then the whole. */
async function runLive(way: Way, pcm: Int16Array): Promise<Hypothesis[]> {
  const { recogniser, drafts, isPaced } = way;
  const heard: Hypothesis[] = [];
  liveCount++;
  let [end, costMs] = [0, 0];
  while (end < pcm.length) {
    end += msToSamples(nextPartialMs({ intervalMs: PARTIAL_INTERVAL_MS, costMs }));
    const draft = drafts ? (heard.at(-1)?.tokens ?? []) : [];
    const startMs = processorMs();
    const partialOf = way.isStreaming === true && end < pcm.length ? liveCount : undefined;
    heard.push(await transcribeOne(recogniser, { pcm: pcm.subarray(0, end), draft, partialOf }));
    if (isPaced === true) costMs = processorMs() - startMs;
  }
  return heard;
}

async function measured(run: () => Promise<readonly Hypothesis[]>): Promise<Run> {
  const startMs = processorMs();
  const heard = await run();
  const costMs = processorMs() - startMs;
  const sum = (of: (one: Hypothesis) => number) => heard.reduce((total, one) => total + of(one), 0);
  return {
    costMs,
    decoderSteps: sum(({ decoderSteps }) => decoderSteps),
    heard,
  };
}

/** The cheapest run of each clip, clip by clip, of each way. */
async function runAll(
  ways: readonly Way[],
  clips: readonly Clip[],
  kind: 'final' | 'live',
): Promise<Run[][]> {
  const best: (Run | undefined)[][] = ways.map(() => []);
  const run = kind === 'final' ? runFinal : runLive;
  for (let round = 0; round < ROUNDS[kind]; round++) {
    for (const [at, { pcm }] of clips.entries()) {
      for (const [of, way] of ways.entries()) {
        const one = await measured(() => run(way, pcm));
        const before = best[of]?.[at];
        if (before === undefined || one.costMs < before.costMs) best[of]?.splice(at, 1, one);
      }
    }
  }
  return best.map((runs) => runs.flatMap((one) => one ?? []));
}

/** True if the other was the same; where one tells no tokens, its text speaks for them. */
function isSame(one: Hypothesis | undefined, other: Hypothesis | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  if (one.tokens.length === 0 || other.tokens.length === 0) return one.text === other.text;
  return one.tokens.join() === other.tokens.join();
}

/**
 * Of the words of partials, without the last of each, which may be cut short: the share that are others in their final.
 * This is what a reader sees being taken back, and what the beginnings of words cost.
 */
function unlikeFinalRatio(runs: readonly Run[]): number {
  let [edits, count] = [0, 0];
  for (const { heard } of runs) {
    const final = normalisedWords(heard.at(-1)?.text ?? '');
    for (const { text } of heard.slice(0, -1)) {
      const words = normalisedWords(text).slice(0, -1);
      const beginnings = Array.from({ length: final.length + 1 }, (_, end) => final.slice(0, end));
      edits += Math.min(...beginnings.map((beginning) => wordEditCount(beginning, words)));
      count += words.length;
    }
  }
  return edits / count;
}

/** What was heard, each beside what the first way made of the same audio; of a paced stream, the finals. */
function pairsOf(
  { isPaced }: Way,
  runs: readonly Run[],
  firstRuns: readonly Run[],
): (readonly [Hypothesis | undefined, Hypothesis | undefined])[] {
  return runs.flatMap(({ heard }, clip) => {
    const first = firstRuns[clip]?.heard ?? [];
    if (isPaced === true) return [[heard.at(-1), first.at(-1)] as const];
    return heard.map((one, at) => [one, first[at]] as const);
  });
}

/** The cost of one way as a multiple of that of each way that others are compared with. */
function ratios(ways: readonly Way[], costs: readonly number[], cost: number): Record<string, number> {
  const columns = ways.flatMap(({ yardstick }, of) =>
    yardstick === undefined
      ? []
      : [[`${yardstick} = 1`, Number((cost / (costs[of] ?? NaN)).toFixed(3))] as const],
  );
  return Object.fromEntries(columns);
}

/**
 * Prints what each way costs in processor time, beside those that have a name as a yardstick, and which texts differ
 * from those of the first, which is the published graph.
 */
export async function compareWays(
  ways: readonly Way[],
  clips: readonly Clip[],
  kind: 'final' | 'live',
): Promise<void> {
  const results = await runAll(ways, clips, kind);
  const samples = clips.reduce((total, { pcm }) => total + pcm.length, 0);
  const costs = results.map((runs) => runs.reduce((total, { costMs }) => total + costMs, 0));
  const rows = ways.map((way, of) => {
    const [runs, cost] = [results[of] ?? [], costs[of] ?? NaN];
    const sum = (value: (run: Run) => number) =>
      Math.round(runs.reduce((total, run) => total + value(run), 0));
    const pairs = pairsOf(way, runs, results[0] ?? []);
    const same = pairs.filter(([one, first]) => isSame(one, first)).length;
    const row: Record<string, number | string> = {
      'cost ms': Math.round(cost),
      'decoder runs': sum(({ decoderSteps }) => decoderSteps),
      'cost / audio': Number(realTimeFactor(cost, samples).toFixed(4)),
      ...ratios(ways, costs, cost),
      same: `${same} of ${pairs.length}`,
      ...(kind === 'live' && { 'unlike final': `${(100 * unlikeFinalRatio(runs)).toFixed(1)} %` }),
    };
    return [way.name, row] as const;
  });
  console.table(Object.fromEntries(rows));
  if (kind !== 'final') return;
  listDifferences(ways, clips, results);
  noteSilence(results[0] ?? []);
}

/** A tie that flips is listed, not hidden. */
function listDifferences(ways: readonly Way[], clips: readonly Clip[], results: readonly Run[][]): void {
  for (const [of, way] of ways.entries()) {
    for (const [at, clip] of clips.entries()) {
      const [one, first] = [results[of]?.[at]?.heard[0], results[0]?.[at]?.heard[0]];
      if (isSame(one, first)) continue;
      console.log(`${way.name}, ${clip.name}: "${one?.text ?? ''}" instead of "${first?.text ?? ''}"`);
    }
  }
}

/** Where nothing is heard, costs are those of the encoder and one step, and to hear the same says little. */
function noteSilence(runs: readonly Run[]): void {
  const count = runs.filter(({ heard }) => heard[0]?.text === '').length;
  if (count > 0) console.log(`the published graph heard no word in ${count} of ${runs.length}`);
}
