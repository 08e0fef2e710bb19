/** What the service promises, in figures. */
import { FINAL_OBJECTIVE_MS, PARTIAL_OBJECTIVE_MS } from '../pipeline/limits.ts';

export const FINAL_OBJECTIVE_SECONDS = FINAL_OBJECTIVE_MS / 1_000;
export const PARTIAL_OBJECTIVE_SECONDS = PARTIAL_OBJECTIVE_MS / 1_000;
/** From the end of the voice: the silence that ends an utterance by default, and the objective of finals. */
export const SPEECH_FINAL_OBJECTIVE_SECONDS = 0.5 + FINAL_OBJECTIVE_SECONDS;

/** A promise: of what happens in 30 days, at most this share may be bad. `recorded` is what the rules call that share. */
export interface Objective {
  readonly title: string;
  readonly recorded: string;
  readonly budgetRatio: number;
}

export const FINALS_IN_TIME: Objective = {
  title: `finals within ${FINAL_OBJECTIVE_SECONDS} s of the end of their utterance`,
  recorded: 'earwitness:finals_late:ratio_rate',
  budgetRatio: 0.01,
};

export const UTTERANCES_KEPT: Objective = {
  title: 'utterances with the text of the whole of them',
  recorded: 'earwitness:utterances_failed:ratio_rate',
  budgetRatio: 0.001,
};
