/**
 * The configuration: defaults < YAML file < EARWITNESS_ variables < flags. Nothing else reads the environment, and
 * every value remembers where it comes from.
 */
import { readFileSync, statSync } from 'node:fs';
import { availableParallelism, homedir } from 'node:os';
import { dirname, resolve } from 'node:path';
import { inspect } from 'node:util';
import { parseDocument, YAMLError } from 'yaml';
import { ConfigError } from '../pipeline/errors.ts';
import { CONFIG_FILE_MAX_BYTES, SESSIONS_PER_AUDIO_WORKER_COUNT } from '../pipeline/limits.ts';
import {
  flagOf,
  SETTING_KEYS,
  settingOf,
  variableOf,
  type Config,
  type Machine,
  type SettingKey,
} from './settings.ts';
import { closestName } from './commands/suggestion.ts';

export type { Config } from './settings.ts';

/** Where a value comes from, the weakest first. `name` is the file's path, the variable or the flag. */
export interface Origin {
  readonly kind: 'default' | 'file' | 'variable' | 'flag';
  readonly name: string;
}

export interface LoadedConfig {
  readonly config: Config;
  readonly origins: Readonly<Record<SettingKey, Origin>>;
  /** What was ignored and why, one sentence each. */
  readonly warnings: readonly string[];
}

/** Values of flags as given, by key. */
export type Flags = Readonly<Partial<Record<SettingKey, string>>>;

/** All that a configuration is made from. */
export interface ConfigSources extends Machine {
  readonly flags: Flags;
  /** Folder that relative paths of flags and variables start at. */
  readonly workingDir: string;
  /** Text of a file. Throws what node:fs throws. */
  readonly readFile: (path: string) => string;
}

interface Candidate {
  readonly value: unknown;
  readonly origin: Origin;
}
type Layer = Readonly<Partial<Record<SettingKey, Candidate>>>;

/**
 * The configuration of this process. Throws one `ConfigError` (`bad_config`) that names everything that is wrong.
 */
export function loadConfig(flags: Flags): LoadedConfig {
  return resolveConfig({
    flags,
    env: process.env,
    homeDir: homedir(),
    processorCount: availableParallelism(),
    workingDir: process.cwd(),
    readFile: readConfigFile,
  });
}

/** `loadConfig` on given sources; reads nothing but the file that they name. */
export function resolveConfig(sources: ConfigSources): LoadedConfig {
  const faults: string[] = [];
  const warnings: string[] = [];
  const flags = flagLayer(sources.flags);
  const variables = variableLayer(sources.env, warnings);
  const path = flags.config?.value ?? variables.config?.value;
  const file = typeof path === 'string' ? fileLayer(resolve(sources.workingDir, path), sources, faults) : {};
  const chosen = chooseValues([flags, variables, file], sources, faults);
  if (faults.length === 0) faults.push(...contradictions(chosen.config));
  if (faults.length > 0) {
    const list = faults.length === 1 ? ` ${faults.join()}` : ['', ...faults].join('\n  ');
    throw new ConfigError('bad_config', `cannot start as configured:${list}`);
  }
  return { ...chosen, warnings };
}

function flagLayer(flags: Flags): Layer {
  const layer: Partial<Record<SettingKey, Candidate>> = {};
  for (const key of SETTING_KEYS) {
    const value = flags[key];
    if (value !== undefined) layer[key] = { value, origin: { kind: 'flag', name: flagOf(key) } };
  }
  return layer;
}

const PREFIX = 'EARWITNESS_';
/** Read by `transcribe` and `load`, in place of their option: it is no setting, and no server needs it. */
export const TOKEN_VARIABLE = 'EARWITNESS_TOKEN';
/** What Kubernetes puts into the environment of every pod for a Service called `earwitness…`. */
const SERVICE_LINK_NAME =
  /^EARWITNESS(_.+)?_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_.+)?)$/;
const SERVICE_LINK_VALUE = /^(tcp|udp|sctp):\/\//;

function variableLayer(env: Machine['env'], warnings: string[]): Layer {
  const layer: Partial<Record<SettingKey, Candidate>> = {};
  for (const [name, value] of Object.entries(env)) {
    // An empty variable counts as not set: that is how Compose files and shells hand on what they do not have.
    if (!name.startsWith(PREFIX) || value === undefined || value === '' || name === TOKEN_VARIABLE) continue;
    const key = SETTING_KEYS.find((candidate) => variableOf(candidate) === name);
    if (key === undefined) {
      if (!SERVICE_LINK_NAME.test(name)) warnings.push(unknownVariable(name));
    } else if (SERVICE_LINK_VALUE.test(value)) {
      warnings.push(`${name} is ignored: Kubernetes sets it for a Service of that name, not an operator`);
    } else {
      layer[key] = { value, origin: { kind: 'variable', name } };
    }
  }
  return layer;
}

function unknownVariable(name: string): string {
  const closest = closestName(name.slice(PREFIX.length), SETTING_KEYS);
  return `${name} is ignored: it names no setting${closest === undefined ? '' : didYouMean(variableOf(closest))}`;
}

function didYouMean(name: string): string {
  return `; did you mean ${name}?`;
}

function fileLayer(path: string, sources: ConfigSources, faults: string[]): Layer {
  const layer: Partial<Record<SettingKey, Candidate>> = {};
  const keys = SETTING_KEYS.filter((key) => settingOf(key).isInFile !== false);
  for (const [name, value] of Object.entries(parseFile(path, sources.readFile, faults))) {
    const key = keys.find((candidate) => candidate === name);
    if (key === undefined) {
      const closest = closestName(name, keys);
      const guess = closest === undefined ? '' : didYouMean(closest);
      faults.push(`${name}: expected the name of a setting${guess} (from ${path})`);
      continue;
    }
    const isPath = settingOf(key).isPath === true && typeof value === 'string';
    layer[key] = {
      value: isPath ? resolve(dirname(path), value) : value,
      origin: { kind: 'file', name: path },
    };
  }
  return layer;
}

function parseFile(path: string, readFile: ConfigSources['readFile'], faults: string[]): object {
  try {
    const content: unknown = parseYaml(readFile(path)) ?? {};
    if (typeof content === 'object' && content !== null && !Array.isArray(content)) return content;
    faults.push(`config: expected a file of "setting: value" lines, got ${shown(content)} (from ${path})`);
  } catch (error) {
    faults.push(`config: expected a YAML file that can be read, got ${reasonOf(error)} (from ${path})`);
  }
  return {};
}

/** Throws for whatever the file can hardly mean, an unknown tag or directive included. */
function parseYaml(text: string): unknown {
  const document = parseDocument(text, { logLevel: 'error' });
  const [fault] = [...document.errors, ...document.warnings];
  if (fault !== undefined) throw fault;
  return document.toJS();
}

function reasonOf(error: unknown): string {
  if (error instanceof YAMLError) {
    // The parser adds the place and shows the line, which may be long.
    const [what = ''] = error.message.split(/ at line \d|\n/);
    const { line = 0, col = 0 } = error.linePos?.[0] ?? {};
    return `a fault in line ${line}, column ${col}: ${what}`;
  }
  return error instanceof Error ? error.message : String(error);
}

function readConfigFile(path: string): string {
  const { size } = statSync(path);
  if (size > CONFIG_FILE_MAX_BYTES) throw new Error(`${size} bytes, more than ${CONFIG_FILE_MAX_BYTES}`);
  return readFileSync(path, 'utf8');
}

/** Takes each setting from the first layer that has it and checks it there. */
function chooseValues(
  layers: readonly Layer[],
  sources: ConfigSources,
  faults: string[],
): Pick<LoadedConfig, 'config' | 'origins'> {
  const values: Partial<Record<SettingKey, unknown>> = {};
  const origins: Partial<Record<SettingKey, Origin>> = {};
  for (const key of SETTING_KEYS) {
    const { schema, fallback, isPath } = settingOf(key);
    const { value, origin } = layers.find((layer) => layer[key] !== undefined)?.[key] ?? {
      value: fallback(sources),
      origin: { kind: 'default', name: 'default' } as const,
    };
    const parsed = schema.safeParse(value);
    if (parsed.success) {
      const path =
        isPath === true && typeof parsed.data === 'string' && parsed.data !== '' ? parsed.data : null;
      values[key] = path === null ? parsed.data : resolve(sources.workingDir, path);
    } else {
      const rule = parsed.error.issues[0]?.message ?? 'expected another value';
      faults.push(`${key}: ${rule}, got ${shown(value)} (from ${origin.name})`);
    }
    origins[key] = origin;
  }
  // Each value passed the schema of its key, or `faults` keeps all of them from being used.
  return {
    config: Object.freeze(values as Config),
    origins: Object.freeze(origins as Record<SettingKey, Origin>),
  };
}

/** What is wrong with settings that are right one by one. */
function contradictions(config: Config): readonly string[] {
  const faults: string[] = [];
  const { port, adminPort, voskPort, maxSessions, audioWorkers } = config;
  const { silenceMs, maxUtteranceMs, tlsCert, tlsKey } = config;
  if (port !== 0 && port === adminPort) {
    faults.push(`adminPort: expected another port than the clients', got ${adminPort} for both`);
  }
  if (voskPort !== '' && voskPort !== 0 && (voskPort === port || voskPort === adminPort)) {
    faults.push(`voskPort: expected a port of its own, got ${voskPort}`);
  }
  if (silenceMs >= maxUtteranceMs) {
    faults.push(`silenceMs: expected less than maxUtteranceMs (${maxUtteranceMs}), got ${silenceMs}`);
  }
  if ((tlsCert === '') !== (tlsKey === '')) {
    faults.push(`tlsCert, tlsKey: expected both or neither, got ${shown(tlsCert)} and ${shown(tlsKey)}`);
  }
  const sessionCount = audioWorkers * SESSIONS_PER_AUDIO_WORKER_COUNT;
  if (maxSessions > sessionCount) {
    const rule = `at most ${sessionCount} with audioWorkers ${audioWorkers}`;
    faults.push(`maxSessions: expected ${rule}, got ${maxSessions}`);
  }
  return faults;
}

/** A value as it is shown to an operator: on one line, strings quoted, cut where it gets long, an address without its user. */
function shown(value: unknown): string {
  const bare = typeof value === 'string' ? value.replace(/:\/\/.*@/, '://…@') : value;
  return inspect(bare, { breakLength: Infinity, depth: 1, maxArrayLength: 5, maxStringLength: 100 });
}
