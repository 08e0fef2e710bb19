/** Speech with a known text for tests. */
import { Synthesiser, type Voice } from '../../server/load/synthesiser.ts';

export type { Voice } from '../../server/load/synthesiser.ts';

const synthesiser = new Synthesiser();

/**
 * Speaks an English sentence as 16 kHz mono PCM. The same text and voice give the same samples, kept in memory and in
 * the temporary folder: the caller must not write to them.
 */
export function synthesise(text: string, options: { voice?: Voice } = {}): Promise<Int16Array> {
  return synthesiser.speak(text, options.voice);
}
