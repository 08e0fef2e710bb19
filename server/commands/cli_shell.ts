/** What every command has at hand: where it answers, its settings, its log, the interrupt. */
import type { Writable } from 'node:stream';
import type { Command } from 'commander';
import { systemClock } from '../../pipeline/clock.ts';
import { loadConfig, type Config, type Flags, type LoadedConfig } from '../config.ts';
import type { RootLog } from '../records/log.ts';
import { written } from './output.ts';
import { fallbackTextOf, flagOf, settingOf, type SettingKey } from '../settings.ts';

/** A stream the program writes to. */
export type CliStream = Writable & { readonly isTTY?: boolean };

/** Where answers and failures go. */
export interface CliStreams {
  readonly stdout: CliStream;
  readonly stderr: CliStream;
}

/** One run of the program. */
export interface Shell extends CliStreams {
  /** The command line, for a process that is to run the same. */
  readonly args: readonly string[];
  /** Sets the exit status. */
  readonly finish: (status: number) => void;
}

/** Exit status of a command that was interrupted, as shells have it: 128 + SIGINT. */
const EXIT_INTERRUPTED = 130;

/** Takes the exit status of a command; over when what it printed has left the process. */
export async function answer(shell: Shell, command: Promise<number>): Promise<void> {
  shell.finish(await command);
  await written(shell.stdout);
}

/** Adds the options of settings to a command. */
export function withSettings(command: Command, keys: readonly SettingKey[]): Command {
  for (const key of keys) {
    const { help, placeholder, isSwitch } = settingOf(key);
    const value = isSwitch === true ? `[${placeholder}]` : `<${placeholder}>`;
    command.option(`${flagOf(key)} ${value}`, `${help} (default: ${fallbackTextOf(key)})`);
  }
  return command;
}

/** The configuration that these flags make. Throws `ConfigError`. */
export function load(flags: Flags, streams: CliStreams): Config {
  return loadAll(flags, streams).config;
}

/** The configuration with its origins; what was ignored in making it is told. */
export function loadAll(flags: Flags, { stderr }: CliStreams): LoadedConfig {
  const loaded = loadConfig(flags);
  for (const warning of loaded.warnings) stderr.write(`earwitness: ${warning}\n`);
  return loaded;
}

/** Does `work` with a log that is flushed at the end, whatever the end. */
export async function withLog(
  config: Config,
  output: CliStream,
  work: (log: RootLog) => Promise<void>,
): Promise<void> {
  const { createLog } = await import('../records/log.ts');
  const log = createLog({ level: config.logLevel, format: config.logFormat, clock: systemClock, output });
  try {
    await work(log);
  } finally {
    await log.flush();
  }
}

/** Does `work` with a signal that SIGINT and SIGTERM abort; it is 130 then, however the work takes it. */
export async function withInterrupt(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const controller = new AbortController();
  const interrupt = (): void => {
    controller.abort();
  };
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    const status = await work(controller.signal);
    return controller.signal.aborted ? EXIT_INTERRUPTED : status;
  } catch (error) {
    if (controller.signal.aborted) return EXIT_INTERRUPTED;
    throw error;
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}
