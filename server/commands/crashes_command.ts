/** `earwitness crashes list | show`: the reports of processes that died. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TranscriptionError } from '../../pipeline/errors.ts';
import { crashIdOf, type CrashReport } from '../records/crash_reports.ts';
import type { Output } from './models_command.ts';
import { renderDuration } from './duration.ts';
import { findById } from './short_id.ts';
import { renderTable } from './text_table.ts';

export interface CrashesCommandOptions {
  readonly crashDir: string;
  readonly json: boolean;
  readonly stdout: Output;
}

/** Prints the reports, the newest first: a table, or one JSON array without the stderr. Returns the exit status. */
export async function listCrashes({ crashDir, json, stdout }: CrashesCommandOptions): Promise<number> {
  const reports = await readReports(crashDir);
  if (json) {
    stdout.write(`${JSON.stringify(reports, withoutStderr, 2)}\n`);
  } else if (reports.length === 0) {
    stdout.write(`No crash reports in ${crashDir}.\n`);
  } else {
    const rows = reports.map(({ id, at, role, uptimeMs, kind, cause }) => [
      id,
      at,
      role,
      renderDuration(uptimeMs),
      kind,
      cause,
    ]);
    stdout.write(renderTable([['ID', 'TIME', 'ROLE', 'UPTIME', 'KIND', 'CAUSE'], ...rows]));
  }
  return 0;
}

/** Prints one report; the id may be shortened to a beginning that only one has. Returns the exit status. */
export async function showCrash(id: string, options: CrashesCommandOptions): Promise<number> {
  const { crashDir, json, stdout } = options;
  const names = { noun: 'report', place: `in ${crashDir}`, command: 'earwitness crashes list' };
  const report = findById(id, await readReports(crashDir), names);
  stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : renderReport(report, crashDir));
  return 0;
}

/** The newest first. */
async function readReports(crashDir: string): Promise<readonly CrashReport[]> {
  const reports: CrashReport[] = [];
  for (const id of await crashIds(crashDir)) {
    const report = await readReport(crashDir, id);
    if (report !== undefined) reports.push(report);
  }
  return reports;
}

/** The newest first; a folder that is not there holds none. Throws for one that cannot be read. */
async function crashIds(crashDir: string): Promise<readonly string[]> {
  try {
    const ids = (await readdir(crashDir)).map(crashIdOf).filter((id) => id !== undefined);
    return ids.sort().reverse();
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return [];
    throw new TranscriptionError('internal', `the crash reports in ${crashDir} cannot be read`, { cause });
  }
}

/** Undefined for one that was removed meanwhile or is no report. */
async function readReport(crashDir: string, id: string): Promise<CrashReport | undefined> {
  try {
    const report = JSON.parse(await readFile(join(crashDir, `${id}.json`), 'utf8')) as Partial<CrashReport>;
    return report.version === 1 && report.id === id ? (report as CrashReport) : undefined;
  } catch {
    return undefined;
  }
}

/** A list is read for what happened; the last words are shown one report at a time. */
function withoutStderr(name: string, value: unknown): unknown {
  return name === 'stderrTail' ? undefined : value;
}

function renderReport(report: CrashReport, crashDir: string): string {
  const { nodeReport, versions, jobs, stderrTail } = report;
  const rows = [
    ['report', join(crashDir, `${report.id}.json`)],
    ['time', report.at],
    ['process', `${report.role} worker ${report.pid}, start ${report.generation} of its place`],
    ['cause', report.cause],
    ['kind', KIND_TEXTS[report.kind]],
    ['uptime', renderDuration(report.uptimeMs)],
    ['memory', `${(report.rssBytes / 1e6).toFixed(0)} MB resident when last asked`],
    ...jobs.map(({ jobId, durationMs, contentHash }) => [
      'job',
      `${jobId}: ${renderDuration(durationMs)} of audio, sha256 ${contentHash}`,
    ]),
    ['sessions', `${report.sessionsReplayed} rebuilt elsewhere`],
    [
      'node report',
      nodeReport === null ? 'none' : `${join(crashDir, nodeReport.file)} (${nodeReport.bytes} bytes)`,
    ],
    ['versions', `earwitness ${versions.earwitness}, Node ${versions.node}, ${versions.platform}`],
  ];
  const words =
    stderrTail === '' ? 'It wrote nothing to stderr.\n' : `Last it wrote to stderr:\n${stderrTail}`;
  return `${renderTable(rows)}\n${words.endsWith('\n') ? words : `${words}\n`}`;
}

const KIND_TEXTS: Readonly<Record<CrashReport['kind'], string>> = {
  exit: 'it ended by itself',
  signal: 'a signal ended it',
  hang: 'we ended it: it did not answer',
  deadline: 'we ended it: its job outlived its deadline',
  start: 'it ended before it was ready',
  memory: 'we replaced it: it had grown too large',
};
