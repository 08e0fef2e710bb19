/** A recogniser's batch of one, for those who have one task only. */
import type { Hypothesis, RecognitionTask, Recogniser } from './contracts.ts';

/** Throws the error that the task's result would be. */
export async function transcribeOne(recogniser: Recogniser, task: RecognitionTask): Promise<Hypothesis> {
  const { transcriptions } = await recogniser.transcribe([task]);
  const [only] = transcriptions;
  if (only?.hypothesis !== undefined) return only.hypothesis;
  throw only?.error ?? new Error('a recogniser answers for each task');
}
