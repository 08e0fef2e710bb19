/** `earwitness quarantine list | show | replay | clear`: audio that ended two workers. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AudioError, TranscriptionError } from '../../pipeline/errors.ts';
import type { InferenceReply, InferenceRequest } from '../../pipeline/inference_pool.ts';
import { QUARANTINE_AGE_MAX_MS } from '../../pipeline/limits.ts';
import type { WorkerLauncher } from '../../pipeline/worker_process.ts';
import { describeDeath } from '../records/exit_cause.ts';
import type { Output } from './models_command.ts';
import type { PrivateFolder } from '../records/private_folder.ts';
import {
  openQuarantineFolder,
  readQuarantine,
  removeFromQuarantine,
  type QuarantineRecord,
} from '../records/quarantine.ts';
import { replayAudio, type ReplayOutcome } from '../workers/quarantine_replay.ts';
import { renderDuration } from './duration.ts';
import { findById } from './short_id.ts';
import { renderTable } from './text_table.ts';
import { readWav } from './wav_file.ts';

export interface QuarantineCommandOptions {
  readonly quarantineDir: string;
  readonly json: boolean;
  /** The wall clock. */
  readonly now: () => Date;
  readonly stdout: Output;
  readonly stderr: Output;
}

/** Prints what is quarantined, the newest first. Returns the exit status. */
export async function listQuarantine(options: QuarantineCommandOptions): Promise<number> {
  const { quarantineDir, json, now, stdout } = options;
  const records = await readRecords(folderOf(options));
  if (json) {
    stdout.write(`${JSON.stringify(records, null, 2)}\n`);
  } else if (records.length === 0) {
    stdout.write(`Nothing is quarantined in ${quarantineDir}.\n`);
  } else {
    const rows = records.map((record) => [
      record.id,
      record.at,
      renderDuration(record.durationMs),
      record.model,
      record.audioFile === null ? 'no' : 'yes',
      renderDuration(leftMs(record, now())),
    ]);
    stdout.write(renderTable([['ID', 'TIME', 'DURATION', 'MODEL', 'AUDIO KEPT', 'EXPIRES IN'], ...rows]));
  }
  return 0;
}

/** Prints one record; the id may be shortened to a beginning that only one has. Returns the exit status. */
export async function showQuarantined(id: string, options: QuarantineCommandOptions): Promise<number> {
  const record = await findRecord(id, options);
  const { quarantineDir, json, now, stdout } = options;
  if (json) {
    stdout.write(`${JSON.stringify(record, null, 2)}\n`);
    return 0;
  }
  const { audioFile } = record;
  stdout.write(
    renderTable([
      ['record', join(quarantineDir, `${record.id}.json`)],
      ['time', record.at],
      ['duration', renderDuration(record.durationMs)],
      ['sha256', record.contentHash],
      ['workers ended', String(record.deathCount)],
      ['model', record.model],
      ['version', `earwitness ${record.earwitness}`],
      ['audio', audioFile === null ? 'not kept (quarantine: full keeps it)' : join(quarantineDir, audioFile)],
      ['expires in', renderDuration(leftMs(record, now()))],
    ]),
  );
  return 0;
}

/**
 * Runs the audio in a worker of its own and prints what happened. Returns 0 if it was transcribed, 3 if it ended the
 * worker again, 1 if that could not be found out.
 */
export async function replayQuarantined(
  id: string,
  options: QuarantineCommandOptions & {
    readonly launch: WorkerLauncher<InferenceRequest, InferenceReply>;
  },
): Promise<number> {
  const { quarantineDir, stderr, launch } = options;
  const record = await findRecord(id, options);
  if (record.audioFile === null) {
    stderr.write(`earwitness: the audio of ${record.id} was not kept; serve with --quarantine full\n`);
    return 1;
  }
  const path = join(quarantineDir, record.audioFile);
  const wav = await readFile(path).catch((cause: unknown) => {
    throw new AudioError('unsupported_audio', `${path} cannot be read`, { cause });
  });
  stderr.write(`${record.id}: ${renderDuration(record.durationMs)} of audio, in a worker of its own …\n`);
  return tellOutcome(await replayAudio(readWav(wav), { launch }), options);
}

/** Removes one record, or all. Returns the exit status. */
export async function clearQuarantine(
  id: string | undefined,
  options: QuarantineCommandOptions,
): Promise<number> {
  const folder = folderOf(options);
  const records = id === undefined ? await readRecords(folder) : [await findRecord(id, options)];
  for (const record of records) await removeFromQuarantine(folder, record);
  options.stdout.write(`${records.length} removed; a running server gives them new tries within a minute.\n`);
  return 0;
}

/** Exit status of a replay that ended its worker. */
const EXIT_DIED_AGAIN = 3;

function tellOutcome(outcome: ReplayOutcome, { json, stdout, stderr }: QuarantineCommandOptions): number {
  const facts =
    outcome.type === 'died' || outcome.type === 'notStarted' ? describeOutcome(outcome) : undefined;
  if (json) stdout.write(`${JSON.stringify(jsonOf(outcome), null, 2)}\n`);
  switch (outcome.type) {
    case 'text': {
      const { hypothesis, elapsedMs } = outcome;
      if (!json) stdout.write(`transcribed in ${renderDuration(elapsedMs)}: ${hypothesis.text}\n`);
      return 0;
    }
    case 'refused':
      if (!json) stdout.write(`refused (${outcome.error.code}): ${outcome.error.message}\n`);
      return 1;
    case 'died':
      if (!json) stdout.write(`ended the worker again: ${facts ?? ''}\n`);
      return EXIT_DIED_AGAIN;
    case 'notStarted':
      stderr.write(`earwitness: the worker ended before it had the audio: ${facts ?? ''}\n`);
      return 1;
  }
}

function describeOutcome({ death }: Extract<ReplayOutcome, { readonly death: unknown }>): string {
  return describeDeath({ ...death.exit, kind: death.cause, uptimeMs: death.uptimeMs });
}

function jsonOf(outcome: ReplayOutcome): object {
  switch (outcome.type) {
    case 'text':
      return { outcome: 'text', text: outcome.hypothesis.text, elapsedMs: Math.round(outcome.elapsedMs) };
    case 'refused':
      return { outcome: 'refused', code: outcome.error.code, message: outcome.error.message };
    case 'died':
    case 'notStarted': {
      const { code, signal } = outcome.death.exit;
      return {
        outcome: outcome.type,
        kind: outcome.death.cause,
        code,
        signal,
        cause: describeOutcome(outcome),
      };
    }
  }
}

function folderOf({ quarantineDir, now }: QuarantineCommandOptions): PrivateFolder {
  return openQuarantineFolder(quarantineDir, { now });
}

/** A folder that is not there holds nothing. Throws for one that cannot be read. */
async function readRecords(folder: PrivateFolder): Promise<readonly QuarantineRecord[]> {
  try {
    return await readQuarantine(folder);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return [];
    throw new TranscriptionError('internal', `the quarantine in ${folder.path} cannot be read`, { cause });
  }
}

async function findRecord(id: string, options: QuarantineCommandOptions): Promise<QuarantineRecord> {
  const names = {
    noun: 'record',
    place: `in ${options.quarantineDir}`,
    command: 'earwitness quarantine list',
  };
  return findById(id, await readRecords(folderOf(options)), names);
}

function leftMs(record: QuarantineRecord, now: Date): number {
  return Math.max(0, Date.parse(record.at) + QUARANTINE_AGE_MAX_MS - now.getTime());
}
