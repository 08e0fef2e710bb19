/**
 * Every setting of the server in one table. Flags, variables, the file's keys, the help, `earwitness config` and the
 * README's table all follow from it.
 */
import { isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { CATALOGUE, DEFAULT_RECOGNISER } from '../models/catalogue.ts';
import { defaultModelsDir } from '../models/weights.ts';
import { oneOf, truth, wholeNumber as typedWholeNumber } from './field_rules.ts';
import { ACCELERATORS, CPU, isDeviceSetting } from './workers/devices.ts';
import { DIALECTS, type DialectName } from '../pipeline/session_settings.ts';
import { defaultKeysFile } from './access/keys_file.ts';
import { isOriginRule } from './access/origin.ts';
import { isProxyRule } from './access/trusted_proxies.ts';
import {
  ACCESS_COUNT_MAX,
  ALLOWED_ORIGINS_MAX_COUNT,
  CORES_PER_AUDIO_WORKER_COUNT,
  CRASH_REPORTS_MAX_COUNT,
  INFERENCE_THREADS_MAX_COUNT,
  PARTIAL_INTERVAL_MAX_MS,
  PARTIAL_NEW_AUDIO_MIN_MS,
  PCM_RATE_MAX_HZ,
  PCM_RATE_MIN_HZ,
  SESSIONS_PER_AUDIO_WORKER_COUNT,
  SILENCE_MAX_MS,
  SILENCE_MIN_MS,
  TRUSTED_PROXIES_MAX_COUNT,
  UTTERANCE_MAX_MS,
  UTTERANCE_MIN_MS,
  WORKERS_MAX_COUNT,
} from '../pipeline/limits.ts';
import { renderMarkdownTable } from './commands/text_table.ts';

/** What a log line must be worth to be written. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
/** `auto` is `pretty` on a terminal and `json` anywhere else. */
export const LOG_FORMATS = ['auto', 'json', 'pretty'] as const;
/** `auto` is `uws` where it can be loaded and `ws` anywhere else. */
export const TRANSPORTS = ['auto', 'uws', 'ws'] as const;
/** What is kept of audio that ended two workers: nothing, its facts, or its facts and the audio. */
export const QUARANTINE_MODES = ['off', 'hash', 'full'] as const;

/** What defaults may depend on. */
export interface Machine {
  readonly processorCount: number;
  readonly homeDir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** One setting. Its flag and its variable follow from its key: `flagOf`, `variableOf`. */
export interface Setting<T> {
  /** Accepts the value as text (flag, variable) or typed (file); its only message is the rule: "expected …". */
  readonly schema: z.ZodType<T>;
  readonly fallback: (machine: Machine) => T;
  /** The default in words, where it depends on the machine. */
  readonly fallbackText?: string;
  readonly help: string;
  /** Stands for the value in the help. */
  readonly placeholder: string;
  /** True if a relative value in the file starts at the file's folder. */
  readonly isPath?: boolean;
  /** True if its flag alone, without a value, means `true`. */
  readonly isSwitch?: boolean;
  /** False for the setting that names the file. */
  readonly isInFile?: boolean;
}

const PROXIES_RULE = `expected up to ${TRUSTED_PROXIES_MAX_COUNT} addresses or networks such as 10.0.0.0/8, or loopback`;
const ORIGINS_RULE = `expected up to ${ALLOWED_ORIGINS_MAX_COUNT} origins such as https://app.example.org (no path, no slash at the end, lower case), or *`;

type Wording = Pick<Setting<unknown>, 'help' | 'placeholder' | 'isPath'>;

/** A whole number, in digits where it comes as text. */
function wholeNumber(min: number, max: number): z.ZodType<number> {
  const toNumber = (value: unknown): unknown =>
    typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  return z.preprocess(toNumber, typedWholeNumber(min, max));
}

function name(what: string): z.ZodType<string> {
  const error = `expected ${what}`;
  return z.string({ error }).regex(/^\S(.*\S)?$/, { error });
}

/** A user in it is refused: `fetch` takes no such address, and what is in it reaches the log. */
const ADDRESS_RULE = 'expected an http or https address without a user and password';
const httpAddress = z
  .string({ error: ADDRESS_RULE })
  .refine((text) => text === '' || isBareAddress(text), { error: ADDRESS_RULE });

function isBareAddress(text: string): boolean {
  if (!/^https?:/.test(text) || !URL.canParse(text)) return false;
  const { username, password } = new URL(text);
  return username === '' && password === '';
}

const isTrue: z.ZodType<boolean> = z.preprocess(
  (value) => (value === 'true' ? true : value === 'false' ? false : value),
  truth(),
);

/** A list of items that each keep the rule; as text they are separated by commas. */
function listOf(
  isItem: (item: string) => boolean,
  { rule, maxCount }: { readonly rule: string; readonly maxCount: number },
): z.ZodType<readonly string[]> {
  return z.preprocess(
    (value) => (typeof value === 'string' ? value.split(',').map((item) => item.trim()) : value),
    z
      .array(z.string(), { error: rule })
      .transform((list) => list.filter((item) => item !== ''))
      .refine((list) => list.length <= maxCount && list.every(isItem), rule),
  );
}

/** A list of some of these, each once; as text they are separated by commas. */
function someOf<const T extends string>(values: readonly [T, ...T[]]): z.ZodType<readonly T[]> {
  const error = `expected one or more of ${values.join(', ')}, each once`;
  return z.preprocess(
    (value) => (typeof value === 'string' ? value.split(',').map((item) => item.trim()) : value),
    z
      .array(z.enum(values, { error }), { error })
      .min(1, { error })
      .refine((list) => new Set(list).size === list.length, { error }),
  );
}

/** A folder of what the server has to remember, where the XDG Base Directory Specification wants it. */
function stateFolder(name: string): Setting<string> {
  return {
    schema: folder,
    fallback: ({ env, homeDir }) => {
      const stateHome = env['XDG_STATE_HOME'] ?? '';
      return join(isAbsolute(stateHome) ? stateHome : join(homeDir, '.local', 'state'), 'earwitness', name);
    },
    fallbackText: join('~', '.local', 'state', 'earwitness', name),
    help: '',
    placeholder: 'folder',
    isPath: true,
  };
}

const RECOGNISERS: readonly [string, ...string[]] = [
  DEFAULT_RECOGNISER.id,
  ...CATALOGUE.filter((entry) => entry.kind === 'recogniser' && entry !== DEFAULT_RECOGNISER).map(
    (entry) => entry.id,
  ),
];

const DEVICES_RULE = `expected auto, cpu, or accelerators separated by commas, each once: ${ACCELERATORS.join(', ')}; cuda:1 is the second`;
const devices = z.string({ error: DEVICES_RULE }).refine(isDeviceSetting, DEVICES_RULE);

const port = wholeNumber(0, 65_535);
const portOrNone: z.ZodType<number | ''> = z.union([port, z.literal('')], {
  error: 'expected a whole number from 0 to 65535',
});
const host = name('an address or a host name');
const folder = name('a folder');
const workers = wholeNumber(1, WORKERS_MAX_COUNT);
const count: Pick<Wording, 'placeholder'> = { placeholder: 'count' };

function fixed<T>(schema: z.ZodType<T>, fallback: T, wording: Wording): Setting<T> {
  return {
    schema,
    fallback: () => fallback,
    ...(fallback === '' ? { fallbackText: 'none' } : {}),
    ...wording,
  };
}

/** The table, in the order in which it is shown. */
export const SETTINGS = {
  host: fixed(host, '127.0.0.1', {
    help: 'address clients connect to; 0.0.0.0 takes them from everywhere',
    placeholder: 'address',
  }),
  port: fixed(port, 8080, { help: 'port clients connect to; 0 takes any free one', placeholder: 'port' }),
  dialects: {
    schema: someOf(DIALECTS),
    fallback: () => DIALECTS,
    fallbackText: 'all',
    help: `protocols that clients may speak, separated by commas: ${DIALECTS.join(', ')}`,
    placeholder: 'names',
  } satisfies Setting<readonly DialectName[]>,
  voskPort: fixed(portOrNone, '', {
    help: 'port of its own on which every path speaks vosk, as its clients expect (2700)',
    placeholder: 'port',
  }),
  voskSampleRateHz: fixed(wholeNumber(PCM_RATE_MIN_HZ, PCM_RATE_MAX_HZ), 8_000, {
    help: 'sample rate of vosk clients that do not name theirs',
    placeholder: 'Hz',
  }),
  adminHost: fixed(host, '127.0.0.1', {
    help: 'address of metrics and health; keep it private',
    placeholder: 'address',
  }),
  adminPort: fixed(port, 9464, {
    help: 'port of metrics and health; 0 takes any free one',
    placeholder: 'port',
  }),
  transport: fixed(oneOf(TRANSPORTS), 'auto', {
    help: 'WebSocket server: uws, ws, or auto for uws where it can be loaded',
    placeholder: 'name',
  }),
  model: fixed(oneOf(RECOGNISERS), DEFAULT_RECOGNISER.id, {
    help: 'speech model; `earwitness models list` shows them',
    placeholder: 'id',
  }),
  device: fixed(devices, CPU, {
    help: 'what the model runs on: cpu, auto, or accelerators such as cuda:0,cuda:1 or webgpu; `earwitness devices` shows what works',
    placeholder: 'names',
  }),
  audioWorkers: {
    schema: workers,
    fallback: ({ processorCount }) =>
      Math.min(Math.ceil(processorCount / CORES_PER_AUDIO_WORKER_COUNT), WORKERS_MAX_COUNT),
    fallbackText: `one for every ${CORES_PER_AUDIO_WORKER_COUNT} cores`,
    help: 'processes that decode audio and find speech in it',
    ...count,
  } satisfies Setting<number>,
  audioSpares: fixed(wholeNumber(0, WORKERS_MAX_COUNT), 1, {
    help: 'processes beyond those, loaded and empty, that take over when one dies',
    ...count,
  }),
  inferenceWorkers: {
    schema: workers,
    fallback: ({ processorCount }) => Math.min(processorCount, WORKERS_MAX_COUNT),
    fallbackText: 'number of cores',
    help: 'processes that run the speech model on the CPU, one utterance at a time each; accelerators have one each',
    ...count,
  } satisfies Setting<number>,
  inferenceSpares: fixed(wholeNumber(0, WORKERS_MAX_COUNT), 1, {
    help: 'processes beyond those, loaded and idle, so that a crash costs no model load; beside accelerators they are on the CPU',
    ...count,
  }),
  inferenceThreads: fixed(wholeNumber(1, INFERENCE_THREADS_MAX_COUNT), 1, {
    help: 'threads of each of them; more workers are better than more threads',
    ...count,
  }),
  maxSessions: fixed(wholeNumber(1, WORKERS_MAX_COUNT * SESSIONS_PER_AUDIO_WORKER_COUNT), 200, {
    help: 'sessions at a time; more are refused',
    ...count,
  }),
  silenceMs: fixed(wholeNumber(SILENCE_MIN_MS, SILENCE_MAX_MS), 500, {
    help: 'silence that ends an utterance, unless the client asks otherwise',
    placeholder: 'ms',
  }),
  maxUtteranceMs: fixed(wholeNumber(UTTERANCE_MIN_MS, UTTERANCE_MAX_MS), 20_000, {
    help: 'longest utterance, unless the client asks otherwise; a longer one is split',
    placeholder: 'ms',
  }),
  partialIntervalMs: fixed(wholeNumber(PARTIAL_NEW_AUDIO_MIN_MS, PARTIAL_INTERVAL_MAX_MS), 500, {
    help: 'time between the partials of an utterance; under load they get rarer',
    placeholder: 'ms',
  }),
  keysFile: {
    schema: z.string({ error: 'expected a file' }),
    fallback: ({ env, homeDir }) => defaultKeysFile(env, homeDir),
    fallbackText: join('~', '.config', 'earwitness', 'keys.json'),
    help: 'API keys, made by `earwitness keys`; once it exists, clients need one',
    placeholder: 'file',
    isPath: true,
  } satisfies Setting<string>,
  insecure: {
    schema: isTrue,
    fallback: () => false,
    help: 'without API keys, let everybody in who can reach `host`',
    placeholder: 'true|false',
    isSwitch: true,
  } satisfies Setting<boolean>,
  allowedOrigins: {
    schema: listOf(isOriginRule, { rule: ORIGINS_RULE, maxCount: ALLOWED_ORIGINS_MAX_COUNT }),
    fallback: () => [],
    fallbackText: "the server's own pages",
    help: 'origins of web pages that may connect, separated by commas; * for all',
    placeholder: 'origins',
  } satisfies Setting<readonly string[]>,
  maxSessionsPerKey: fixed(wholeNumber(1, ACCESS_COUNT_MAX), 100, {
    help: 'sessions at a time with one API key and its tokens, unless the key has its own number',
    ...count,
  }),
  maxSessionsPerIp: fixed(wholeNumber(1, ACCESS_COUNT_MAX), 20, {
    help: 'sessions at a time from one address, without an API key or with a token; not from this machine',
    ...count,
  }),
  connectionsPerMinutePerIp: fixed(wholeNumber(1, ACCESS_COUNT_MAX), 240, {
    help: 'connections a minute from one address, a quarter of it at once; not from this machine',
    ...count,
  }),
  trustedProxies: {
    schema: listOf(isProxyRule, { rule: PROXIES_RULE, maxCount: TRUSTED_PROXIES_MAX_COUNT }),
    fallback: () => [],
    fallbackText: 'none',
    help: 'proxies whose X-Forwarded-For says who a client is: addresses, networks, loopback, separated by commas',
    placeholder: 'list',
  } satisfies Setting<readonly string[]>,
  tlsCert: fixed(z.string({ error: 'expected a file' }), '', {
    help: 'certificate chain (PEM): serve https and wss; read again on SIGHUP',
    placeholder: 'file',
    isPath: true,
  }),
  tlsKey: fixed(z.string({ error: 'expected a file' }), '', {
    help: 'private key (PEM) of tlsCert',
    placeholder: 'file',
    isPath: true,
  }),
  modelsDir: {
    schema: folder,
    fallback: ({ env, homeDir }) => defaultModelsDir(env, homeDir),
    fallbackText: join('~', '.cache', 'earwitness', 'models'),
    help: 'where the weights of models are kept',
    placeholder: 'folder',
    isPath: true,
  } satisfies Setting<string>,
  crashDir: {
    ...stateFolder('crashes'),
    help: 'where reports of crashed processes are kept',
  } satisfies Setting<string>,
  crashReportsMax: fixed(wholeNumber(1, CRASH_REPORTS_MAX_COUNT), 50, {
    help: 'reports that are kept; the oldest go',
    ...count,
  }),
  quarantine: fixed(oneOf(QUARANTINE_MODES), 'hash', {
    help: 'what is kept of audio that ended two workers: off, hash (facts only) or full (the audio too)',
    placeholder: 'name',
  }),
  quarantineDir: {
    ...stateFolder('quarantine'),
    help: 'where it is kept, for a day at most',
  } satisfies Setting<string>,
  logLevel: fixed(oneOf(LOG_LEVELS), 'info', {
    help: 'least important lines that are logged: debug, info, warn or error',
    placeholder: 'level',
  }),
  logFormat: fixed(oneOf(LOG_FORMATS), 'auto', {
    help: 'json, pretty, or auto for pretty on a terminal',
    placeholder: 'name',
  }),
  otlpEndpoint: fixed(httpAddress, '', {
    help: 'collector of OpenTelemetry that gets the steps of each utterance as spans, such as http://127.0.0.1:4318',
    placeholder: 'url',
  }),
  config: {
    schema: z.string(),
    fallback: () => '',
    fallbackText: 'none',
    help: 'YAML file with any of these settings but this one',
    placeholder: 'file',
    isPath: true,
    isInFile: false,
  } satisfies Setting<string>,
} as const;

export type SettingKey = keyof typeof SETTINGS;
type ValueOf<K extends SettingKey> = (typeof SETTINGS)[K] extends Setting<infer T> ? T : never;

/** The effective configuration: validated and frozen. Every field is described in SETTINGS. */
export type Config = { readonly [K in SettingKey]: ValueOf<K> };

/** The keys, in the order of the table. */
export const SETTING_KEYS = Object.keys(SETTINGS) as readonly SettingKey[];

/** The setting of a key, with its type forgotten. */
export function settingOf(key: SettingKey): Setting<unknown> {
  return SETTINGS[key];
}

/** `adminPort` → `--admin-port`. */
export function flagOf(key: SettingKey): string {
  return `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `adminPort` → `EARWITNESS_ADMIN_PORT`. */
export function variableOf(key: SettingKey): string {
  return `EARWITNESS_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** The default of a setting in words, the same on every machine. */
export function fallbackTextOf(key: SettingKey): string {
  const setting = settingOf(key);
  return setting.fallbackText ?? String(setting.fallback({ processorCount: 1, homeDir: '~', env: {} }));
}

/** The table as Markdown, padded as Prettier would, for the README. Ends without a line break. */
export function renderSettingsTable(): string {
  const rows = SETTING_KEYS.map((key) => {
    const { fallbackText, help, isInFile } = settingOf(key);
    const fallback = fallbackText ?? `\`${fallbackTextOf(key)}\``;
    return [
      isInFile === false ? '' : `\`${key}\``,
      `\`${flagOf(key)}\``,
      `\`${variableOf(key)}\``,
      fallback,
      help,
    ];
  });
  return renderMarkdownTable([['File', 'Flag', 'Variable', 'Default', 'Meaning'], ...rows]);
}
