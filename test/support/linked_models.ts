/** A models folder of its own, with the real weights in it as links: what is prepared there disturbs nobody. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_RECOGNISER, SILERO_VAD_V5 } from '../../models/catalogue.ts';
import {
  originOf,
  PREPARED_NAMES,
  preparedFolderName,
  writeManifest,
  type PreparedFrom,
} from '../../models/prepared_folder.ts';
import { fastestWeightType } from '../../models/weight_type.ts';
import { preparedDir, publishedDigests } from '../../models/weights.ts';
import { weightPath } from './weights.ts';

export interface LinkedModels {
  readonly modelsDir: string;
  /** Where the default recogniser's prepared graphs belong. */
  readonly preparedDir: string;
  remove(): Promise<void>;
}

/** Creates the folder, below a temporary one; the caller calls `remove`. */
export async function linkModels(): Promise<LinkedModels> {
  const modelsDir = await mkdtemp(join(tmpdir(), 'earwitness-test-'));
  for (const { id, files } of [DEFAULT_RECOGNISER, SILERO_VAD_V5]) {
    await mkdir(join(modelsDir, id));
    for (const { name } of files) await symlink(weightPath(id, name), join(modelsDir, id, name));
  }
  return {
    modelsDir,
    preparedDir: preparedDir(DEFAULT_RECOGNISER.id, modelsDir),
    remove: () => rm(modelsDir, { recursive: true }),
  };
}

/**
 * Writes a folder that passes for the finished preparation of the default recogniser, for processors if nothing else is
 * asked for, but holds no graphs; its path.
 */
export async function pretendPrepared(
  models: LinkedModels,
  weightType?: PreparedFrom['weightType'],
): Promise<string> {
  const origin = originOf(publishedDigests(DEFAULT_RECOGNISER));
  const from = { origin, weightType: weightType ?? (await fastestWeightType()) };
  const folder = join(models.preparedDir, preparedFolderName(from));
  await mkdir(folder, { recursive: true });
  for (const name of Object.values(PREPARED_NAMES)) await writeFile(join(folder, name), `no ${name}`);
  await writeManifest(folder, from);
  return folder;
}
