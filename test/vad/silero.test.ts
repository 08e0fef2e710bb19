import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { readSileroGraph } from '../../models/silero_graph.ts';
import { FRAME_SAMPLES, msToSamples, toFloatPcm } from '../../pipeline/audio.ts';
import type { JudgedFrame, SegmenterEvent, VoiceDetector } from '../../pipeline/contracts.ts';
import { VOICE_BATCH_MAX_COUNT } from '../../pipeline/limits.ts';
import { SILERO_SEGMENTERS } from '../../vad/segmenter.ts';
import { loadSilero } from '../../vad/silero.ts';
import { concat, hum, mix, silence, tone, whiteNoise } from '../support/sound.ts';
import { synthesise, type Voice } from '../support/speech.ts';
import { weightPath } from '../support/weights.ts';

const modelPath = weightPath('silero-vad-v5', 'silero_vad_v5.onnx');
const VOICES: readonly Voice[] = ['slt', 'rms', 'awb', 'kal16'];
const SENTENCE = 'the birch canoe slid on the smooth planks';
const OTHER_SENTENCE = 'glue the sheet to the background';
const WORDS = ['yes', 'no', 'stop', 'two'];

let graph: Uint8Array;
let detector: VoiceDetector;
before(async () => {
  // Spoken here, one after the other, and from memory in the tests: on Node 20 a garbage collection of the tests'
  // arrays while the synthesiser ran ended the process now and then.
  for (const voice of VOICES) {
    for (const text of [SENTENCE, ...WORDS]) await synthesise(text, { voice });
  }
  await synthesise(OTHER_SENTENCE);
  graph = await readSileroGraph(modelPath);
  detector = await loadSilero({ graph, threads: 1 });
});
after(() => detector.close());

function frameAt(pcm: Int16Array, index: number): Int16Array {
  return pcm.subarray(index * FRAME_SAMPLES, (index + 1) * FRAME_SAMPLES);
}

/** Probabilities of each stream, frame by frame, and the states at the end; all streams share every call. */
async function judgeTogether(
  streams: readonly Int16Array[],
): Promise<{ probabilities: number[][]; states: Float32Array[] }> {
  const frameCount = Math.floor(Math.min(...streams.map((pcm) => pcm.length)) / FRAME_SAMPLES);
  const states = streams.map(() => detector.createState());
  const probabilities: number[][] = streams.map(() => []);
  for (let index = 0; index < frameCount; index++) {
    const judged = await detector.detect(
      streams.map((pcm) => frameAt(pcm, index)),
      states,
    );
    judged.forEach((probability, stream) => probabilities[stream]?.push(probability));
  }
  return { probabilities, states };
}

/** Probabilities of a stream, frame by frame, and the recurrent state at the end, from the graph as it is published. */
async function publishedJudgement(
  published: InferenceSession,
  pcm: Float32Array,
): Promise<{ probabilities: Float32Array; state: Float32Array }> {
  const padded = Float32Array.from([...new Float32Array(64), ...pcm]);
  const probabilities: number[] = [];
  let state = new Float32Array(256);
  for (let at = 0; at + FRAME_SAMPLES <= pcm.length; at += FRAME_SAMPLES) {
    const { output, stateN } = await published.run({
      input: new Tensor('float32', padded.subarray(at, at + 64 + FRAME_SAMPLES), [1, 64 + FRAME_SAMPLES]),
      state: new Tensor('float32', state, [2, 1, 128]),
      sr: new Tensor('int64', [16_000n], []),
    });
    probabilities.push(Number(output?.data[0]));
    state = Float32Array.from(stateN?.data as Float32Array);
  }
  return { probabilities: Float32Array.from(probabilities), state };
}

function energyOf(frame: Int16Array): number {
  return frame.reduce((sum, sample) => sum + (sample / 32_768) ** 2, 0) / frame.length;
}

type SpeechEnd = Extract<SegmenterEvent, { type: 'speechEnd' }>;

/** The utterances found in each stream at the default endpointing. */
async function utterancesOf(streams: readonly Int16Array[]): Promise<SpeechEnd[][]> {
  const { probabilities } = await judgeTogether(streams);
  return streams.map((pcm, stream) => {
    const segmenter = SILERO_SEGMENTERS.create({ silenceMs: 500, maxUtteranceMs: 20_000 }, 0);
    const frames = (probabilities[stream] ?? []).map((probability, index): JudgedFrame => ({
      probability,
      energy: energyOf(frameAt(pcm, index)),
    }));
    const events = frames.flatMap((frame) => [...segmenter.push(frame)]);
    return events.filter((event) => event.type === 'speechEnd');
  });
}

/** Audio between silences; streams judged together are as long as the shortest. */
function framed(pcm: Int16Array, totalMs: number): Int16Array {
  const whole = new Int16Array(msToSamples(totalMs));
  whole.set(pcm, msToSamples(1_000));
  return whole;
}

/** First and last sample above −40 dBFS. */
function audibleSpan(pcm: Int16Array): { from: number; to: number } {
  const isAudible = (sample: number): boolean => Math.abs(sample) > 328;
  return { from: pcm.findIndex(isAudible), to: pcm.findLastIndex(isAudible) };
}

describe('what is speech', () => {
  it('[VAD1] a minute of silence, noise, hum, tones or clicks holds no utterance', async () => {
    const durationMs = 60_000;
    const clicks = new Int16Array(msToSamples(durationMs));
    const noise = whiteNoise({ durationMs: 3, dbfs: -6, seed: 2 });
    for (let at = 0; at + noise.length < clicks.length; at += msToSamples(700)) clicks.set(noise, at);
    const found = await utterancesOf([
      silence(durationMs),
      whiteNoise({ durationMs, dbfs: -30, seed: 1 }),
      whiteNoise({ durationMs, dbfs: -15, seed: 3 }),
      hum({ durationMs, dbfs: -20 }),
      tone({ durationMs, dbfs: -20, hz: 50 }),
      tone({ durationMs, dbfs: -20, hz: 440 }),
      clicks,
    ]);
    assert.deepEqual(
      found.map((utterances) => utterances.length),
      [0, 0, 0, 0, 0, 0, 0],
    );
  });

  it('[VAD2] a sentence is one utterance in every voice, with all that can be heard of it', async () => {
    const spoken = await Promise.all(VOICES.map((voice) => synthesise(SENTENCE, { voice })));
    const streams = spoken.map((pcm) => framed(pcm, 7_000));
    for (const [stream, utterances] of (await utterancesOf(streams)).entries()) {
      const [utterance, ...others] = utterances;
      assert.ok(utterance !== undefined && others.length === 0, `${VOICES[stream]}: ${utterances.length}`);
      const { from, to } = audibleSpan(streams[stream] ?? silence(0));
      assert.ok(utterance.startSamples <= from && utterance.endSamples > to, VOICES[stream]);
    }
  });

  it('[VAD2] so it is in noise 25 dB below the voice', async () => {
    const spoken = framed(await synthesise(SENTENCE), 7_000);
    const noisy = mix(spoken, whiteNoise({ durationMs: 7_000, dbfs: -45, seed: 5 }));
    const [utterances] = await utterancesOf([noisy]);
    const { from, to } = audibleSpan(spoken);
    assert.equal(utterances?.length, 1);
    const [utterance] = utterances;
    assert.ok(utterance !== undefined && utterance.startSamples <= from && utterance.endSamples > to);
  });

  it('[VAD3] a word of a fifth to half a second is an utterance in every voice', async () => {
    const pairs = WORDS.flatMap((word) => VOICES.map((voice) => ({ word, voice })));
    const streams = await Promise.all(
      pairs.map(async ({ word, voice }) => framed(await synthesise(word, { voice }), 4_000)),
    );
    for (const [stream, utterances] of (await utterancesOf(streams)).entries()) {
      assert.equal(utterances.length, 1, JSON.stringify(pairs[stream]));
    }
  });

  it('[VAD3] two sentences with a second between them are two utterances', async () => {
    const [one, other] = [await synthesise(SENTENCE), await synthesise(OTHER_SENTENCE)];
    const [utterances] = await utterancesOf([
      concat(silence(500), one, silence(1_000), other, silence(1_500)),
    ]);
    assert.equal(utterances?.length, 2);
  });
});

describe('the graph', () => {
  it('[VAD8] the probability of a frame differs from the published graph’s by less than 0.00001', async () => {
    const published = await InferenceSession.create(modelPath);
    const spoken = await Promise.all(VOICES.map((voice) => synthesise(SENTENCE, { voice })));
    const noises = [-20, -60].map((dbfs) => whiteNoise({ durationMs: 2_000, dbfs, seed: 7 }));
    const loud = whiteNoise({ durationMs: 2_000, dbfs: 0, seed: 8 });
    for (const pcm of [...spoken, ...noises, loud, silence(2_000)]) {
      const { probabilities, states } = await judgeTogether([pcm]);
      const expected = await publishedJudgement(published, toFloatPcm(pcm));
      const worst = (some: readonly number[], others: Float32Array): number =>
        some.reduce((most, value, at) => {
          const other = others[at] ?? NaN;
          return Math.max(most, Math.abs(value - other) / Math.max(1, Math.abs(other)));
        }, 0);
      assert.equal(probabilities[0]?.length, expected.probabilities.length);
      assert.ok(worst(probabilities[0], expected.probabilities) < 1e-5);
      assert.ok(worst([...(states[0] ?? [])].slice(0, 256), expected.state) < 1e-4);
    }
    await published.release();
  });
});

describe('many streams at once', () => {
  it('[VAD4] a stream gets the same bits alone as in any company', async () => {
    const spoken = await Promise.all(VOICES.map((voice) => synthesise(SENTENCE, { voice })));
    const together = Array.from({ length: VOICE_BATCH_MAX_COUNT + 1 }, (_, stream) => {
      const pcm = spoken[stream % spoken.length] ?? silence(0);
      const noise = whiteNoise({ durationMs: 1_600, dbfs: -30 - (stream % 30), seed: stream + 1 });
      return mix(pcm.slice(stream * 300, stream * 300 + noise.length), noise);
    });
    for (const count of [1, 2, 3, 7, 16, VOICE_BATCH_MAX_COUNT, VOICE_BATCH_MAX_COUNT + 1]) {
      const company = await judgeTogether(together.slice(-count));
      const last = together.at(-1);
      assert.ok(last !== undefined);
      const alone = await judgeTogether([last]);
      assert.deepEqual(company.probabilities.at(-1), alone.probabilities[0], `${count} streams`);
      assert.deepEqual(company.states.at(-1), alone.states[0], `${count} streams`);
    }
    const forwards = await judgeTogether(together);
    const backwards = await judgeTogether(together.toReversed());
    assert.deepEqual(backwards.probabilities.toReversed(), forwards.probabilities);
    assert.deepEqual(backwards.states.toReversed(), forwards.states);
  });

  it('[VAD5] a copy of a state goes on with the same bits in another detector', async () => {
    const pcm = await synthesise(SENTENCE);
    const state = detector.createState();
    for (let index = 0; index < 30; index++) await detector.detect([frameAt(pcm, index)], [state]);
    const copy = structuredClone(state);
    const other = await loadSilero({ graph, threads: 1 });
    for (let index = 30; index < 60; index++) {
      const frame = frameAt(pcm, index);
      assert.deepEqual(await other.detect([frame], [copy]), await detector.detect([frame], [state]));
    }
    assert.deepEqual(copy, state);
    await other.close();
  });

  it('[VAD5] the last 64 samples of a frame are the context of the next', async () => {
    const state = detector.createState();
    const frame = Int16Array.from({ length: FRAME_SAMPLES }, (_, i) => i * 60);
    await detector.detect([frame], [state]);
    assert.deepEqual(state.slice(256), toFloatPcm(frame.slice(-64)));
  });

  it('[VAD5] no streams are no work', async () => {
    assert.deepEqual(await detector.detect([], []), new Float32Array(0));
  });
});

describe('use', () => {
  it('[VAD6] a second call before the first has settled is refused, and the first is not harmed', async () => {
    const call = (): Promise<Float32Array> => detector.detect([silence(32)], [detector.createState()]);
    const first = call();
    await assert.rejects(call(), { name: 'AssertionError' });
    assert.equal((await first).length, 1);
    assert.equal((await call()).length, 1);
  });

  it('[VAD6] frames and states that do not fit are refused', async () => {
    await assert.rejects(detector.detect([silence(31)], [detector.createState()]), {
      name: 'AssertionError',
    });
    await assert.rejects(detector.detect([silence(32)], []), { name: 'AssertionError' });
    await assert.rejects(detector.detect([silence(32)], [new Float32Array(256)]), { name: 'AssertionError' });
  });

  it('[VAD7] close is idempotent, and after it nothing runs', async () => {
    const other = await loadSilero({ graph, threads: 1 });
    await other.close();
    await other.close();
    await assert.rejects(other.detect([silence(32)], [other.createState()]), { name: 'AssertionError' });
  });

  it('[VAD7] weights that cannot be read, or are others, are an InferenceError', async (test) => {
    const fault = { name: 'InferenceError', code: 'internal' };
    await assert.rejects(readSileroGraph(`${modelPath}.missing`), fault);
    await assert.rejects(readSileroGraph(weightPath('moonshine-tiny-en', 'encoder_model.onnx')), fault);
    const folder = await mkdtemp(join(tmpdir(), 'earwitness-silero-'));
    test.after(() => rm(folder, { recursive: true }));
    const damaged = await readFile(modelPath);
    const middle = damaged.length >> 1;
    damaged.writeUInt8(damaged.readUInt8(middle) ^ 1, middle);
    await writeFile(join(folder, 'damaged.onnx'), damaged);
    const told = {
      ...fault,
      message:
        /voice detector .*damaged\.onnx \(run "earwitness models pull silero-vad-v5 --models-dir .+"\)/,
    };
    await assert.rejects(readSileroGraph(join(folder, 'damaged.onnx')), told);
    await assert.rejects(loadSilero({ graph: graph.subarray(1), threads: 1 }), fault);
  });
});
