/** Compares prepared graphs with the published ones they were built from. */
import { SAMPLE_RATE_HZ } from '../pipeline/audio.ts';
import { FloatGraphs } from './float_graphs.ts';
import { decodeGreedily, type TokenContext } from './greedy_decoder.ts';
import type { AudioTask, MoonshineEngine } from './moonshine_engine.ts';
import { type MoonshineArchitecture, START_TOKEN } from './moonshine_facts.ts';
import { type MoonshineFiles, MoonshineGraphs } from './moonshine_graphs.ts';
import { PreparedContext } from './prepared_context.ts';

/** What of the prepared graphs can be used. */
export interface PreparationVerdict {
  /** Encoder and step give the published tokens. */
  readonly finals: boolean;
  /** The verifier computes for several tokens just what the step does one by one. */
  readonly drafts: boolean;
  /** Streaming encoder and reader choose nearly as the others do. */
  readonly partials: boolean;
}

/** First three formants in Hz of a few vowels (Peterson and Barney 1952, men). */
const VOWELS = { a: [730, 1090, 2440], e: [530, 1840, 2480], i: [270, 2290, 3010], o: [570, 840, 2410] };
const SPOKEN: readonly (keyof typeof VOWELS)[] = ['a', 'e', 'a', 'e', 'a', 'e', 'o', 'i', 'o', 'i'];
const VOWEL_MS = 400;
const PITCH_HZ = 120;
const FORMANT_BANDWIDTHS_HZ = [60, 100, 140];

/** One resonator of a formant synthesiser (Klatt 1980): `next(x)` at a centre frequency that may change. */
function resonator(bandwidthHz: number): (input: number, frequencyHz: number) => number {
  const radius = Math.exp((-Math.PI * bandwidthHz) / SAMPLE_RATE_HZ);
  let [last, beforeLast] = [0, 0];
  return (input, frequencyHz) => {
    const feedback = 2 * radius * Math.cos((2 * Math.PI * frequencyHz) / SAMPLE_RATE_HZ);
    const output = input + feedback * last - radius * radius * beforeLast;
    [last, beforeLast] = [output, last];
    return output;
  };
}

/** Four seconds of vowels, so speech-like that the English model writes words for them. */
function vowelSignal(): Int16Array {
  const vowelSamples = (VOWEL_MS * SAMPLE_RATE_HZ) / 1_000;
  const pitchSamples = Math.round(SAMPLE_RATE_HZ / PITCH_HZ);
  const resonators = FORMANT_BANDWIDTHS_HZ.map(resonator);
  return Int16Array.from({ length: SPOKEN.length * vowelSamples }, (_, at) => {
    const index = Math.floor(at / vowelSamples);
    const progress = (at % vowelSamples) / vowelSamples;
    const from = VOWELS[SPOKEN[index] ?? 'a'];
    const to = VOWELS[SPOKEN[index + 1] ?? SPOKEN[index] ?? 'a'];
    const pulse = at % pitchSamples === 0 ? 1 : 0;
    const voice = resonators.reduce((sum, resonate, i) => {
      const [start = 0, end = 0] = [from[i], to[i]];
      return sum + resonate(pulse, start + (end - start) * progress ** 2) / (i + 1);
    }, 0);
    const loudness = Math.min(1, 8 * progress, 8 * (1 - progress));
    return Math.max(-32_000, Math.min(32_000, voice * 1_500 * (0.15 + 0.85 * loudness)));
  });
}

/** Tokens that are read whatever the audio says, so that models that hear no words are compared too. */
const READ_TOKENS = [START_TOKEN, 306, 626, 29892, 306, 626, 1286, 29889, 450, 4996, 17354, 1701];
/** Of these, the share after which both must choose the same: with audio that does not fit, choices are close. */
const AGREEMENT_MIN_RATIO = 0.75;
const MAX_TOKENS = 2 * READ_TOKENS.length;

async function readSingly(context: TokenContext): Promise<number[]> {
  const chosen: number[] = [];
  for (const token of READ_TOKENS) chosen.push(...(await context.extend([token])));
  return chosen;
}

/** Whether reading tokens together computes, to the last bit, what reading them one by one does. */
async function readsTogether(singly: TokenContext, together: TokenContext): Promise<boolean> {
  if (!(singly instanceof PreparedContext && together instanceof PreparedContext)) return false;
  const choices = [await readSingly(singly), await together.extend(READ_TOKENS)];
  const [expected, kept] = [singly.keptRows(), together.keptRows()];
  return choices[0]?.join() === choices[1]?.join() && expected.every((value, at) => value === kept[at]);
}

function agreementRatio(some: readonly number[], others: readonly number[]): number {
  return some.filter((token, at) => token === others[at]).length / some.length;
}

/** Beginnings of the signal that are encoded one after the other, in parts of the whole. */
const STREAMED_PARTS = [0.4, 0.6, 0.8, 1];

/** Whether partials come out nearly as they should; graphs that are for partials only do not stand in the way of finals. */
async function makesPartials(
  graphs: MoonshineGraphs,
  { pcm, expected }: { readonly pcm: Int16Array; readonly expected: readonly number[] },
): Promise<boolean> {
  try {
    const streamed = await streamedChoices(graphs, pcm);
    return streamed.every((chosen) => agreementRatio(expected, chosen) >= AGREEMENT_MIN_RATIO);
  } catch {
    // They cannot be run here: the verdict says so, and whoever prepares tells of it.
    return false;
  }
}

/** Choices after the whole signal was encoded as it grew, and all at once. */
async function streamedChoices(graphs: MoonshineGraphs, pcm: Int16Array): Promise<(readonly number[])[]> {
  const choices: (readonly number[])[] = [];
  for (const [key, parts] of [STREAMED_PARTS, [1]].entries()) {
    for (const part of parts) {
      const beginning = { pcm: pcm.subarray(0, Math.round(part * pcm.length)), key };
      const { context } = await graphs.beginPartial(beginning, MAX_TOKENS);
      if (part === 1) choices.push(await context.extend(READ_TOKENS));
    }
  }
  return choices;
}

const UNUSABLE: PreparationVerdict = { finals: false, drafts: false, partials: false };

async function compare(published: MoonshineGraphs, prepared: MoonshineGraphs): Promise<PreparationVerdict> {
  const pcm = vowelSignal();
  const maxTokens = MAX_TOKENS;
  const decode = async (graphs: MoonshineGraphs) =>
    decodeGreedily(await graphs.begin(pcm, maxTokens), { maxTokens, draft: [] });
  const [expected, heard] = [await decode(published), await decode(prepared)];
  if (expected.tokens.join() !== heard.tokens.join()) return UNUSABLE;

  const choices = await readSingly(await published.begin(pcm, maxTokens));
  const preparedChoices = await readSingly(await prepared.begin(pcm, maxTokens));
  if (agreementRatio(choices, preparedChoices) < AGREEMENT_MIN_RATIO) return UNUSABLE;
  const [singly, together] = [await prepared.begin(pcm, maxTokens), await prepared.begin(pcm, maxTokens)];
  const drafts = await readsTogether(singly, together);
  const partials = await makesPartials(prepared, { pcm, expected: choices });
  return { finals: true, drafts, partials };
}

/** Runs both on the same generated signal, on one thread. Throws ONNX Runtime's error if a graph cannot run. */
export async function comparePrepared(
  publishedFiles: MoonshineFiles,
  preparedFiles: MoonshineFiles,
  architecture: MoonshineArchitecture,
): Promise<PreparationVerdict> {
  const options = { device: 'cpu', threads: 1, architecture } as const;
  const published = await MoonshineGraphs.open(publishedFiles, options);
  try {
    const prepared = await MoonshineGraphs.open(preparedFiles, options);
    try {
      return await compare(published, prepared);
    } finally {
      await prepared.close();
    }
  } finally {
    await published.close();
  }
}

/** Lengths of the signal that are run as a batch, in parts of the whole. */
const BATCHED_PARTS = [1, 0.35, 0.8, 0.55];

/** Edits that make one sequence the other (Levenshtein distance). */
function editCount(some: readonly number[], others: readonly number[]): number {
  let row = others.map((_, at) => at + 1);
  row.unshift(0);
  for (const [index, token] of some.entries()) {
    const next = [index + 1];
    for (const [at, other] of others.entries()) {
      const replaced = (row[at] ?? 0) + (token === other ? 0 : 1);
      next.push(Math.min(replaced, (row[at + 1] ?? 0) + 1, (next[at] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

/**
 * The share of the tokens that float graphs choose otherwise than the published ones, on the processor: parts of a
 * generated signal, together as a batch and each alone. A batch that does not give what its rows give alone counts as
 * wrong in all tokens.
 */
export async function compareFloat(
  publishedFiles: MoonshineFiles,
  floatFiles: MoonshineFiles,
  architecture: MoonshineArchitecture,
): Promise<number> {
  const options = { device: 'cpu', threads: 1, architecture, batchMaxCount: BATCHED_PARTS.length } as const;
  const signal = vowelSignal();
  const tasks = BATCHED_PARTS.map((part) => ({
    pcm: signal.subarray(0, Math.round(part * signal.length)),
    maxTokens: MAX_TOKENS,
    draft: [],
  }));
  const published = await MoonshineGraphs.open(publishedFiles, options);
  try {
    const float = await FloatGraphs.open(floatFiles, options);
    try {
      return await errorRatio(tasks, published, float);
    } finally {
      await float.close();
    }
  } finally {
    await published.close();
  }
}

async function errorRatio(
  tasks: readonly AudioTask[],
  published: MoonshineEngine,
  float: MoonshineEngine,
): Promise<number> {
  const together = await float.decode(tasks);
  let [edits, count] = [0, 0];
  for (const [at, task] of tasks.entries()) {
    const [expected] = (await published.decode([task])).decodings;
    const [alone] = (await float.decode([task])).decodings;
    if (alone?.tokens.join() !== together.decodings[at]?.tokens.join()) return 1;
    edits += editCount(expected?.tokens ?? [], alone?.tokens ?? []);
    count += expected?.tokens.length ?? 0;
  }
  return edits / Math.max(1, count);
}
