import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Recogniser } from '../../pipeline/contracts.ts';
import type { InferenceReply } from '../../pipeline/inference_pool.ts';
import { InferenceWorker } from '../../pipeline/inference_worker.ts';
import { settle } from '../support/fake_clock.ts';
import { hypothesisOf } from '../support/scripted_pool.ts';

const WORK = { samples: 1, paddingSamples: 0, movedBytes: 0, halvings: 0 };
const jobs = [1, 2, 3].map((jobId) => ({ jobId, pcm: new Int16Array(jobId), draft: [] }));

describe('inference worker', () => {
  it('[BAT10] a job is answered when it is heard, once; the last of a batch after what there is to say of it', async () => {
    const replies: InferenceReply[] = [];
    const fail = (): never => assert.fail('nothing is wrong');
    let finish = (): void => undefined;
    const hypotheses = jobs.map(({ jobId }) => hypothesisOf(`text ${jobId}`));
    const recogniser: Recogniser = {
      ...{ model: 'scripted', device: 'scripted', batchMaxCount: 3 },
      transcribe: (tasks, heard) => {
        for (const at of [1, 1, 0, 2]) heard?.(at, hypotheses[at] ?? fail());
        return new Promise((resolve) => {
          finish = () => {
            resolve({
              transcriptions: tasks.map((_, at) => ({ hypothesis: hypotheses[at] ?? fail() })),
              work: WORK,
            });
          };
        });
      },
      close: () => Promise.resolve(),
    };
    const worker = new InferenceWorker({
      recogniser,
      reply: (message) => replies.push(message),
      exit: fail,
    });
    const told = (): string[] =>
      replies.map((reply) => (reply.type === 'batchDone' ? reply.type : `${reply.type} ${reply.jobId}`));
    const run = worker.run({ type: 'batch', jobs });
    await settle();
    assert.deepEqual(told(), ['result 2', 'result 1']);
    finish();
    await run;
    assert.deepEqual(told(), ['result 2', 'result 1', 'batchDone', 'result 3']);
  });
});
