/**
 * An inference worker without a model that ends as it is told on audio with a given mark, and otherwise answers with
 * the marks it heard: `node faulty_inference_worker_main.js <settings of a real one> <FaultyWorkerSettings as JSON>`.
 */
import { writeFileSync } from 'node:fs';
import type { InferenceReply, InferenceRequest } from '../../pipeline/inference_pool.ts';
import { openWorkerChannel } from '../../server/workers/worker_channel.ts';
import { exhaustHeap } from './exhausted_heap.ts';
import type { FaultRule, FaultyWorkerSettings } from './faulty_worker.ts';
import { marksOf } from './marked_speech.ts';

const settings = JSON.parse(process.argv[3] ?? '{"rules":[]}') as FaultyWorkerSettings;
const channel = openWorkerChannel<InferenceReply>({
  receive: ({ jobs }: InferenceRequest) => {
    for (const { pcm } of jobs) {
      const marks = marksOf(pcm);
      for (const rule of settings.rules) if (marks.includes(rule.mark) && isDue(rule)) fail(rule);
    }
    const samples = jobs.reduce((sum, { pcm }) => sum + pcm.length, 0);
    const work = { samples, paddingSamples: 0, movedBytes: 0, halvings: 0 };
    channel.send({ type: 'batchDone', work, batchMaxCount: 1 });
    for (const { jobId, pcm, draft } of jobs) {
      const marks = marksOf(pcm);
      const text = settings.text ?? marks.map(String).join(' ');
      const tokens = settings.text === undefined ? marks : [1, 2];
      const draftAcceptedTokens = Math.min(draft.length, tokens.length);
      const costs = { encodeMs: 1, decodeMs: 1, reusedMs: 0, decoderSteps: 1, draftAcceptedTokens };
      const hypothesis = { text, tokens, stop: 'end', ...costs } as const;
      channel.send({ type: 'result', jobId, hypothesis });
    }
  },
  exit: (status) => {
    process.exit(status);
  },
});
channel.send({ type: 'ready', detail: 'faulty' });

/** A rule that holds once is used up by whichever process creates its file. */
function isDue({ onceFile }: FaultRule): boolean {
  if (onceFile === undefined) return true;
  try {
    writeFileSync(onceFile, '', { flag: 'wx' });
    return true;
  } catch {
    return false;
  }
}

function fail({ fault, lastWords }: FaultRule): void {
  if (lastWords !== undefined) process.stderr.write(`${lastWords}\n`);
  switch (fault) {
    case 'exit':
      process.exit(1);
    case 'loop':
      for (;;);
    case 'heap':
      exhaustHeap();
    case 'SIGSEGV':
    case 'SIGABRT':
    case 'SIGBUS':
    case 'SIGKILL':
      process.kill(process.pid, fault);
      // The signal is on its way; nothing may be answered before it arrives.
      for (;;);
  }
}
