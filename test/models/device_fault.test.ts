import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Recogniser } from '../../pipeline/contracts.ts';
import { DeviceError } from '../../pipeline/errors.ts';
import { BATCH_REGROW_COUNT } from '../../pipeline/limits.ts';
import { deviceFaultOf } from '../../models/device_fault.ts';
import { Moonshine } from '../../models/moonshine.ts';
import type { AudioTask, MoonshineEngine } from '../../models/moonshine_engine.ts';

/** What ONNX Runtime 1.30 and the drivers below it say. */
const WORDS = {
  lost: [
    'CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=a ; file=cuda_stream_handle.cc ; line=47',
    'CUDA error 719: unspecified launch failure',
    'CUDA failure 714: operation not supported on global/shared address space',
    'Non-zero status code returned while running MatMul node. Status Message: [Device] is lost. device was lost',
    'WebGPU device lost (2): A valid external Instance reference no longer exists.',
  ],
  memory: [
    'Failed to allocate memory for requested buffer of size 1073741824',
    'CUDA failure 2: out of memory ; GPU=0',
    'CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0',
  ],
  undefined: ['Non-zero status code returned while running Concat node', 'CUDA failure 1: invalid argument'],
};

interface Script {
  room?: number;
  readonly bad?: number;
  readonly words?: string;
}

/** An engine without a model that runs at most `room` rows at once, and none that is `bad` samples long. */
class ScriptedEngine implements MoonshineEngine {
  readonly batchMaxCount = 8;
  readonly rowCounts: number[] = [];
  readonly #script: Script;

  constructor(script: Script) {
    this.#script = script;
  }

  decode(tasks: readonly AudioTask[]): ReturnType<MoonshineEngine['decode']> {
    const { room = Infinity, bad, words } = this.#script;
    this.rowCounts.push(tasks.length);
    if (words !== undefined) return Promise.reject(new Error(words));
    if (tasks.length > room) return Promise.reject(new Error(WORDS.memory[0]));
    if (tasks.some(({ pcm }) => pcm.length === bad)) return Promise.reject(new Error('invalid shape'));
    const decodings = tasks.map(({ pcm }) => ({
      ...{ tokens: [pcm.length], stop: 'end' as const, decoderSteps: 1, draftAcceptedTokens: 0 },
      ...{ encodeMs: 1, decodeMs: 1, reusedMs: 0 },
    }));
    return Promise.resolve({ decodings, samples: 0, paddingSamples: 0, movedBytes: 0 });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function recogniserOn(engine: MoonshineEngine): Recogniser {
  const tokenizer = { decode: (tokens: readonly number[]) => tokens.join() };
  return new Moonshine({ model: 'scripted', device: 'scripted' }, { engine, tokenizer });
}

const LENGTHS = [2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000];
const tasks = LENGTHS.map((length) => ({ pcm: new Int16Array(length), draft: [] }));

describe('device faults', () => {
  for (const [fault, texts] of Object.entries(WORDS)) {
    it(`[FLT1] ${fault === 'undefined' ? 'an error of a graph is none of the device' : `a device fault is known as ${fault}`}`, () => {
      for (const text of texts) assert.equal(String(deviceFaultOf(new Error(text))), fault, text);
    });
  }

  it('[FLT2] a batch that the device has no memory for is run in halves, and from then on fewer at once', async () => {
    const engine = new ScriptedEngine({ room: 3 });
    const recogniser = recogniserOn(engine);
    const { transcriptions, work } = await recogniser.transcribe(tasks);
    assert.deepEqual(
      transcriptions.map(({ hypothesis }) => hypothesis?.text),
      LENGTHS.map(String),
    );
    assert.deepEqual(engine.rowCounts, [7, 4, 2, 2, 3]);
    assert.equal(work.halvings, 2);
    assert.equal(recogniser.batchMaxCount, 2);
  });

  it('[FLT6] after many full batches more are tried at once: memory that others took may be free again', async () => {
    const script: Script = { room: 4 };
    const engine = new ScriptedEngine(script);
    const recogniser = recogniserOn(engine);
    const run = () => recogniser.transcribe(tasks.slice(0, recogniser.batchMaxCount));
    await run();
    assert.equal(recogniser.batchMaxCount, 4);
    for (let full = 0; full < BATCH_REGROW_COUNT; full++) {
      assert.equal(recogniser.batchMaxCount, 4);
      await recogniser.transcribe(tasks.slice(0, 3));
      await run();
    }
    assert.equal(recogniser.batchMaxCount, 8);
    await run();
    assert.equal(recogniser.batchMaxCount, 4, 'there is still no room');
    script.room = 8;
    for (let full = 0; full < 3 * BATCH_REGROW_COUNT; full++) await run();
    assert.equal(recogniser.batchMaxCount, engine.batchMaxCount);
  });

  it('[FLT2] a device that has no memory for one row is not used any more', async () => {
    await assert.rejects(recogniserOn(new ScriptedEngine({ room: 0 })).transcribe(tasks), DeviceError);
  });

  it('[FLT3] a device that is lost is not asked again', async () => {
    for (const words of WORDS.lost) {
      const engine = new ScriptedEngine({ words });
      await assert.rejects(recogniserOn(engine).transcribe(tasks), DeviceError);
      assert.equal(engine.rowCounts.length, 1);
    }
  });

  it('[BAT2] a row that fails does not spoil the others, nor one that must not be run', async () => {
    const recogniser = recogniserOn(new ScriptedEngine({ bad: 5_000 }));
    const empty = { pcm: new Int16Array(0), draft: [] };
    const { transcriptions } = await recogniser.transcribe([empty, ...tasks]);
    const outcomes = transcriptions.map(({ hypothesis, error }) => hypothesis?.text ?? error?.code);
    assert.deepEqual(outcomes, ['invalid_pcm', '2000', '3000', '4000', 'internal', '6000', '7000', '8000']);
    assert.equal(recogniser.batchMaxCount, 8, 'memory was not the matter');
  });
});
