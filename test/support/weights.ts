/** Where the tests find real weights; `npm test` pulls them beforehand. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { defaultModelsDir } from '../../models/weights.ts';

/** The folder of the weights, as the server would choose it: `EARWITNESS_MODELS_DIR` or the user's cache. */
export function testModelsDir(): string {
  const chosen = process.env['EARWITNESS_MODELS_DIR'] ?? '';
  return chosen === '' ? defaultModelsDir(process.env, homedir()) : chosen;
}

/** Path of one weight file, e.g. `weightPath('silero-vad-v5', 'silero_vad_v5.onnx')`. */
export function weightPath(modelId: string, fileName: string): string {
  return join(testModelsDir(), modelId, fileName);
}
