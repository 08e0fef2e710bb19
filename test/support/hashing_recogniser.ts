/** A recogniser without a model: its text is a digest of the samples, so that any other audio gives another text. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Hypothesis, RecognitionTask, Recogniser } from '../../pipeline/contracts.ts';

/** The text of these samples. */
export function digestText(pcm: Int16Array): string {
  return createHash('sha256')
    .update(new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength))
    .digest('hex')
    .slice(0, 16);
}

/** Takes between 2 and 200 ms, in a way that depends on the samples only. */
export class HashingRecogniser implements Recogniser {
  readonly model = 'digest';
  readonly device = 'none';
  readonly batchMaxCount = 1;

  async transcribe(tasks: readonly RecognitionTask[]): ReturnType<Recogniser['transcribe']> {
    const transcriptions = await Promise.all(
      tasks.map(async ({ pcm }) => ({ hypothesis: await this.#transcribe(pcm) })),
    );
    return { transcriptions, work: { samples: 0, paddingSamples: 0, movedBytes: 0, halvings: 0 } };
  }

  async #transcribe(pcm: Int16Array): Promise<Hypothesis> {
    const text = digestText(pcm);
    await sleep(2 + (Number.parseInt(text.slice(0, 4), 16) % 199));
    return {
      text,
      tokens: [1],
      stop: 'end',
      encodeMs: 0,
      decodeMs: 0,
      reusedMs: 0,
      decoderSteps: 1,
      draftAcceptedTokens: 0,
    };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
