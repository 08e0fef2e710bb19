/** The command line: which command, with which settings, and how failures are told. */
import { Command, CommanderError, Option } from 'commander';
import { ConfigError, EXIT_CONFIG, TranscriptionError, UsageError } from '../../pipeline/errors.ts';
import { loadConfig, type Config, type Flags } from '../config.ts';
import { choiceOption, secondsOption, speedOption, tokenOption } from './cli_options.ts';
import {
  answer,
  load,
  loadAll,
  withInterrupt,
  withLog,
  withSettings,
  type CliStream,
  type CliStreams,
  type Shell,
} from './cli_shell.ts';
import type { CrashesCommandOptions } from './crashes_command.ts';
import { FILE_ENCODINGS, type FileEncoding } from './file_encoding.ts';
import { httpUrl } from '../http_url.ts';
import { withLoadFlags, type LoadFlags } from './load_flags.ts';
import { written } from './output.ts';
import type { QuarantineCommandOptions } from './quarantine_command.ts';
import { SETTING_KEYS, type SettingKey } from '../settings.ts';
import { isSupervised, SUPERVISED_ARGUMENT } from '../supervisor_link.ts';
import { VERSION } from '../version.ts';

/** Exit status for a command line that makes no sense. */
const EXIT_USAGE = 2;
/** Forms in which `transcribe` can print what it heard. */
const TRANSCRIPT_FORMATS = ['text', 'json', 'srt', 'vtt'] as const;
/** `transcribe` and its own server talk to each other only. */
const OWN_SERVER: Flags = {
  ...{ host: '127.0.0.1', port: '0', adminHost: '127.0.0.1', adminPort: '0' },
  ...{ keysFile: '', insecure: 'false', allowedOrigins: '', tlsCert: '', tlsKey: '' },
  ...{ maxSessionsPerKey: '1', maxSessionsPerIp: '1', connectionsPerMinutePerIp: '1' },
};

/**
 * Runs one command to its end and returns the exit status: 0, 1 (failed), 2 (not understood), EXIT_CONFIG or 130.
 * `args` are those after the program's name. Never throws: failures are told on `stderr`.
 */
export async function runCli(args: readonly string[], streams: CliStreams): Promise<number> {
  // Heard by `written`, after the answer. Nobody can be told of failures that are lost.
  for (const stream of [streams.stdout, streams.stderr]) stream.on('error', () => undefined);
  let status = 0;
  const finish = (code: number): void => {
    status = code;
  };
  try {
    await run(createProgram({ ...streams, args, finish }), args, streams.stdout);
  } catch (error) {
    status = report(error, streams.stderr);
  }
  return status;
}

/** Runs the command; the help and the version are answers too, although commander throws behind them. */
async function run(program: Command, args: readonly string[], stdout: CliStream): Promise<void> {
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) await written(stdout);
    throw error;
  }
}

/** Tells a failure and returns the exit status. Commander has told its own before it throws. */
function report(error: unknown, stderr: CliStream): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (error instanceof TranscriptionError) {
    stderr.write(`earwitness: ${error.message}\n`);
    if (error instanceof UsageError) return EXIT_USAGE;
    return error instanceof ConfigError ? EXIT_CONFIG : 1;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  stderr.write(`earwitness: unexpected failure: ${text}\n`);
  return 1;
}

function createProgram(shell: Shell): Command {
  const program = new Command('earwitness')
    .description('Live transcription server: Opus or PCM over one WebSocket in, partial and final text out.')
    .version(VERSION, '-V, --version', 'print the version')
    .exitOverride()
    .showHelpAfterError('(--help shows what there is)')
    .configureOutput({
      writeOut: (text) => shell.stdout.write(text),
      writeErr: (text) => shell.stderr.write(text),
      outputError: (text, write) => {
        write(text.replace(/^error: /, 'earwitness: '));
      },
    });
  addServe(program, shell);
  addTranscribe(program, shell);
  addLoad(program, shell);
  addModels(program, shell);
  addBench(program, shell);
  addDevices(program, shell);
  addCrashes(program, shell);
  addQuarantine(program, shell);
  addKeys(program, shell);
  addToken(program, shell);
  addTrace(program, shell);
  addConfig(program, shell);
  return program;
}

interface ServeFlags extends Flags {
  readonly supervise: boolean;
  readonly supervised: boolean;
}

function addServe(program: Command, shell: Shell): void {
  const command = program
    .command('serve')
    .description('serve until SIGTERM or SIGINT')
    .option('--no-supervise', 'run the gateway in this process, for systemd and containers that restart it')
    .addOption(new Option(SUPERVISED_ARGUMENT).default(false).hideHelp());
  withSettings(command, SETTING_KEYS).action(async ({ supervise, supervised, ...flags }: ServeFlags) => {
    const hasSupervisor = isSupervised(supervised);
    // What was ignored in making it was told by the supervisor, if there is one.
    const config = hasSupervisor ? loadConfig(flags).config : load(flags, shell);
    const { serve, superviseServe } = await import('./serve_command.ts');
    await withLog(config, shell.stderr, async (log) => {
      const { stdout, stderr } = shell;
      const running =
        supervise && !hasSupervisor
          ? superviseServe(shell.args.slice(1), config, log)
          : serve(config, { log, stdout, stderr, isSupervised: hasSupervisor });
      shell.finish(await running);
    });
  });
}

interface TranscribeFlags extends Flags {
  readonly url?: string;
  readonly token?: string;
  readonly speed: number;
  readonly encoding: FileEncoding;
  readonly format: (typeof TRANSCRIPT_FORMATS)[number];
}

function addTranscribe(program: Command, shell: Shell): void {
  const command = program
    .command('transcribe')
    .description('transcribe audio files, with a server of its own or the one at --url')
    .argument('<file...>', 'WAV, Ogg/Opus or WebM/Opus files')
    .option('--url <url>', 'server to use, such as ws://127.0.0.1:8080/v1/stream')
    .addOption(tokenOption())
    .addOption(speedOption())
    .addOption(choiceOption('--encoding <name>', 'how the audio is sent', FILE_ENCODINGS))
    .addOption(choiceOption('--format <name>', 'what is printed', TRANSCRIPT_FORMATS));
  const keys = SETTING_KEYS.filter((key) => !(key in OWN_SERVER));
  withSettings(command, keys).action(async (files: string[], flags: TranscribeFlags) => {
    const config = load({ ...flags, ...OWN_SERVER }, shell);
    const { url, speed, encoding, format } = flags;
    // The variable may be there for other calls; given with no `--url`, only the option makes no sense.
    const isMeant = url !== undefined || command.getOptionValueSource('token') === 'cli';
    const token = isMeant && flags.token !== '' ? flags.token : undefined;
    const { transcribeFiles } = await import('./transcribe_command.ts');
    // The transcript has stdout to itself.
    await withLog(config, shell.stderr, async (log) => {
      const { stdout, stderr } = shell;
      const options = { files, url, token, speed, encoding, format, config, log, stdout, stderr };
      await answer(
        shell,
        withInterrupt((signal) => transcribeFiles({ ...options, signal })),
      );
    });
  });
}

function addLoad(program: Command, shell: Shell): void {
  const command = program
    .command('load')
    .description('have many people talk to a server at once, and measure how they fare');
  withLoadFlags(command).action(async (flags: LoadFlags) => {
    const { loadTest } = await import('./load_command.ts');
    const { stdout, stderr } = shell;
    const now = (): Date => new Date();
    await answer(
      shell,
      withInterrupt((signal) => loadTest({ flags, stdout, stderr, signal, now })),
    );
  });
}

function addBench(program: Command, shell: Shell): void {
  const command = program
    .command('bench')
    .description('find the best numbers of workers and threads for the processors of this machine')
    .addOption(secondsOption());
  const keys = ['model', 'partialIntervalMs', 'modelsDir', 'config'] as const;
  withSettings(command, keys).action(async (flags: Flags & { readonly seconds: number }) => {
    const { seconds, ...settings } = flags;
    const config = load(settings, shell);
    const { benchMachine } = await import('./bench_command.ts');
    const { stdout, stderr } = shell;
    const durationMs = seconds * 1_000;
    await answer(
      shell,
      withInterrupt((signal) => benchMachine(config, { durationMs, signal, stdout, stderr })),
    );
  });
}

function addDevices(program: Command, shell: Shell): void {
  const devices = program.command('devices').description('what the speech model can run on here');
  const list = devices.command('list', { isDefault: true }).description('try every device of this machine');
  withSettings(list, ['model', 'inferenceThreads', 'modelsDir', 'config']).action(async (flags: Flags) => {
    const config = load(flags, shell);
    const { listDevices } = await import('./devices_command.ts');
    const { stdout, stderr } = shell;
    await answer(
      shell,
      withInterrupt((signal) => listDevices({ config, signal, stdout, stderr })),
    );
  });
  devices
    .command('install')
    .description('fetch what a device needs and is too large for the package')
    .argument('<device>', 'cuda')
    .action(async (device: string) => {
      const { installDevice } = await import('./devices_command.ts');
      await answer(shell, installDevice(device, shell));
    });
}

/** What the commands about keys need of the configuration. */
const KEYS_SETTINGS: readonly SettingKey[] = ['keysFile', 'config'];

const MODELS_COMMANDS = {
  list: 'list the models and their state on disk',
  pull: 'fetch what is missing of the models',
  verify: 'check every file of the models',
} as const;

function addModels(program: Command, shell: Shell): void {
  const models = program.command('models').description('the weights of the models');
  for (const [name, description] of Object.entries(MODELS_COMMANDS)) {
    const command = models
      .command(name)
      .description(description)
      .argument(
        '[id...]',
        name === 'list' ? 'default: all' : 'default: the speech model and the voice detector',
      )
      .option('--quiet', 'print nothing about models that are ready', false);
    withSettings(command, ['modelsDir', 'config']).action(
      async (ids: string[], flags: Flags & { readonly quiet: boolean }) => {
        const { modelsDir } = load(flags, shell);
        const { listModels, pullModels, verifyModels } = await import('./models_command.ts');
        const run = { list: listModels, pull: pullModels, verify: verifyModels }[
          name as keyof typeof MODELS_COMMANDS
        ];
        const { stdout, stderr } = shell;
        await answer(
          shell,
          withInterrupt((signal) => run({ modelsDir, ids, quiet: flags.quiet, stdout, stderr, signal })),
        );
      },
    );
  }
}

function addKeys(program: Command, shell: Shell): void {
  const keys = program.command('keys').description('the API keys of the clients');
  const { stdout, stderr } = shell;
  const create = keys
    .command('create')
    .description('make a key and show it, this once')
    .requiredOption('--name <name>', 'what the key is for; shown in `keys list`')
    .option('--max-sessions <count>', 'sessions at a time with it (default: the setting maxSessionsPerKey)');
  withSettings(create, KEYS_SETTINGS).action(
    async (flags: Flags & { readonly name: string; readonly maxSessions?: string }) => {
      const { maxSessions, ...settings } = flags;
      const { createApiKey } = await import('./keys_command.ts');
      const { keysFile } = load(settings, shell);
      await createApiKey({ keysFile, name: flags.name, maxSessions, stdout, stderr });
    },
  );
  const list = keys
    .command('list')
    .description('list the keys, which cannot be shown again')
    .option('--json', 'print JSON', false);
  withSettings(list, KEYS_SETTINGS).action(async (flags: Flags & { readonly json: boolean }) => {
    const { listApiKeys } = await import('./keys_command.ts');
    await listApiKeys({ keysFile: load(flags, shell).keysFile, json: flags.json, stdout });
    await written(stdout);
  });
  const revoke = keys
    .command('revoke')
    .description('end a key, its tokens and its sessions; a server that runs takes notice')
    .argument('<id>', 'from `keys list`');
  withSettings(revoke, KEYS_SETTINGS).action(async (id: string, flags: Flags) => {
    const { revokeApiKey } = await import('./keys_command.ts');
    await revokeApiKey({ keysFile: load(flags, shell).keysFile, id, stderr });
  });
}

function addToken(program: Command, shell: Shell): void {
  const command = program
    .command('token')
    .description('sign a token for a browser, which ends by itself')
    .requiredOption('--key-name <name>', 'API key that it belongs to')
    .option('--ttl <time>', 'how long it can be used, such as 90s, 10m or 2h; at most 24h', '10m')
    .option('--max-sessions <count>', 'sessions at a time with it')
    .option('--origin <origin>', 'only pages of this origin may use it');
  withSettings(command, KEYS_SETTINGS).action(async (flags: Flags & TokenFlags) => {
    const { keyName, ttl, maxSessions, origin, ...settings } = flags;
    const { printToken } = await import('./token_command.ts');
    const { keysFile } = load(settings, shell);
    await printToken({ keysFile, keyName, ttl, maxSessions, origin, stdout: shell.stdout });
    await written(shell.stdout);
  });
}

interface TokenFlags {
  readonly keyName: string;
  readonly ttl: string;
  readonly maxSessions?: string;
  readonly origin?: string;
}

interface JsonFlags extends Flags {
  readonly json: boolean;
}

function addCrashes(program: Command, shell: Shell): void {
  const crashes = program.command('crashes').description('reports of processes that died');
  const add = (name: string, description: string): Command =>
    withSettings(crashes.command(name).description(description).option('--json', 'print JSON', false), [
      'crashDir',
      'config',
    ]);
  const options = (flags: JsonFlags): CrashesCommandOptions => {
    const { crashDir } = load(flags, shell);
    return { crashDir, json: flags.json, stdout: shell.stdout };
  };
  add('list', 'list the reports, the newest first').action(async (flags: JsonFlags) => {
    const { listCrashes } = await import('./crashes_command.ts');
    await answer(shell, listCrashes(options(flags)));
  });
  add('show', 'print one report, with the last words of the process')
    .argument('<id>', 'id of a report, or its beginning')
    .action(async (id: string, flags: JsonFlags) => {
      const { showCrash } = await import('./crashes_command.ts');
      await answer(shell, showCrash(id, options(flags)));
    });
}

function addQuarantine(program: Command, shell: Shell): void {
  const quarantine = program.command('quarantine').description('audio that ended two workers');
  const add = (name: string, description: string, keys: readonly SettingKey[] = []): Command =>
    withSettings(quarantine.command(name).description(description).option('--json', 'print JSON', false), [
      ...keys,
      'quarantineDir',
      'config',
    ]);
  const options = (flags: JsonFlags): QuarantineCommandOptions & { readonly config: Config } => {
    const config = load(flags, shell);
    const { stdout, stderr } = shell;
    const { quarantineDir } = config;
    return { quarantineDir, json: flags.json, now: () => new Date(), stdout, stderr, config };
  };
  add('list', 'list what is quarantined, the newest first').action(async (flags: JsonFlags) => {
    const { listQuarantine } = await import('./quarantine_command.ts');
    await answer(shell, listQuarantine(options(flags)));
  });
  add('show', 'print the facts of one record')
    .argument('<id>', 'id of a record, or its beginning')
    .action(async (id: string, flags: JsonFlags) => {
      const { showQuarantined } = await import('./quarantine_command.ts');
      await answer(shell, showQuarantined(id, options(flags)));
    });
  add('replay', 'run the audio in a worker of its own', ['model', 'device', 'inferenceThreads', 'modelsDir'])
    .argument('<id>', 'id of a record whose audio was kept, or its beginning')
    .action(async (id: string, flags: JsonFlags) => {
      const { replayQuarantined } = await import('./quarantine_command.ts');
      const { firstDeviceOf } = await import('../workers/devices.ts');
      const { inferenceLauncher } = await import('../workers/worker_launchers.ts');
      const { config, ...rest } = options(flags);
      const launch = inferenceLauncher(config, { device: firstDeviceOf(config.device) });
      await answer(shell, replayQuarantined(id, { ...rest, launch }));
    });
  add('clear', 'remove one record, or all')
    .argument('[id]', 'id of a record, or its beginning')
    .action(async (id: string | undefined, flags: JsonFlags) => {
      const { clearQuarantine } = await import('./quarantine_command.ts');
      await answer(shell, clearQuarantine(id, options(flags)));
    });
}

function addTrace(program: Command, shell: Shell): void {
  const command = program
    .command('trace')
    .description('show the time line of a session of a running server, or list its sessions')
    .argument('[session]', 'id of a session, or its beginning; in the log and in `ready`')
    .option('--json', 'print JSON', false);
  withSettings(command, ['adminHost', 'adminPort', 'config']).action(
    async (sessionId: string | undefined, flags: JsonFlags) => {
      const { adminHost: host, adminPort: port } = load(flags, shell);
      const { traceSession } = await import('./trace_command.ts');
      const { stdout } = shell;
      const adminUrl = httpUrl({ host, port, isSecure: false });
      await answer(shell, traceSession(sessionId, { adminUrl, json: flags.json, stdout }));
    },
  );
}

function addConfig(program: Command, shell: Shell): void {
  const command = program
    .command('config')
    .description('print the effective configuration and where each value comes from')
    .option('--json', 'print JSON', false)
    .option('--markdown', 'print the table of all settings instead, for the README', false);
  withSettings(command, SETTING_KEYS).action(
    async (flags: Flags & { readonly json: boolean; readonly markdown: boolean }) => {
      const { renderConfig } = await import('./config_command.ts');
      const { renderSettingsTable } = await import('../settings.ts');
      const table = (): string => `${renderSettingsTable()}\n`;
      const { stdout } = shell;
      stdout.write(flags.markdown ? table() : renderConfig(loadAll(flags, shell), flags));
      await written(stdout);
    },
  );
}
