/**
 * The report that Node writes by itself when V8 dies (`--report-on-fatalerror`). It holds the environment of the
 * process, with all that is secret in it: only what helps to find the fault is kept.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { NODE_REPORT_MAX_BYTES } from '../../pipeline/limits.ts';
import { scrub } from './scrubbing.ts';

/** Parts of the report that are kept; none of them holds the environment, addresses or file contents. */
const KEPT_PARTS = ['javascriptStack', 'nativeStack', 'javascriptHeap', 'resourceUsage', 'sharedObjects'];
const KEPT_HEADER_FIELDS = [
  ...['event', 'trigger', 'dumpEventTime', 'processId', 'nodejsVersion', 'glibcVersionRuntime'],
  ...['arch', 'platform', 'componentVersions', 'osName', 'osRelease'],
];
/** `report.<date>.<time>.<pid>.<thread>.<sequence>.json` */
const NAME = /^report\.\d+\.\d+\.(\d+)\.\d+\.\d+\.json$/;

/** Arguments of a Node process that make it leave a report in this folder when it dies of a fatal error. */
export function reportArguments(folder: string): readonly string[] {
  // Without it (Node before 20.13) Node looks up the names of all peers before it ends.
  const quiet = '--report-exclude-network';
  const isKnown = process.allowedNodeEnvironmentFlags.has(quiet);
  return ['--report-on-fatalerror', ...(isKnown ? [quiet] : []), `--report-directory=${folder}`];
}

/** True for a report as Node has written it. */
export function isNodeReport(name: string): boolean {
  return NAME.test(name);
}

/** The name of the report of a process among those of a folder. */
export function findNodeReport(names: readonly string[], pid: number): string | undefined {
  return names.find((name) => NAME.exec(name)?.[1] === String(pid));
}

/**
 * What is kept of a report, as JSON; undefined for one that is empty, cut off or too large: Node reports success also
 * when the disk is full. Throws what node:fs throws.
 */
export async function readNodeReport(folder: string, name: string): Promise<string | undefined> {
  const path = join(folder, name);
  const { size } = await stat(path);
  if (size === 0 || size > NODE_REPORT_MAX_BYTES) return undefined;
  let report: unknown;
  try {
    report = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const header = pick(partOf(report, 'header'), KEPT_HEADER_FIELDS);
  return `${JSON.stringify({ header, ...pick(report, KEPT_PARTS) }, scrubString, 2)}\n`;
}

function pick(value: unknown, names: readonly string[]): Record<string, unknown> {
  const picked: Record<string, unknown> = {};
  for (const name of names) {
    const part = partOf(value, name);
    if (part !== undefined) picked[name] = part;
  }
  return picked;
}

function partOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function scrubString(_name: string, value: unknown): unknown {
  return typeof value === 'string' ? scrub(value) : value;
}
