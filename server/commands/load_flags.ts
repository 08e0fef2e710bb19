/** The options of `earwitness load`. */
import type { Command } from 'commander';
import { choiceOption, tokenOption } from './cli_options.ts';
import type { LoadDialectName } from '../load/load_dialects.ts';
import { LOAD_ENCODINGS, type LoadEncoding } from '../load/load_plan.ts';

/** The options as the command line has them. */
export interface LoadFlags {
  readonly url?: string;
  readonly token?: string;
  readonly dialect: LoadDialectName;
  readonly encoding: LoadEncoding;
  readonly sessions: string;
  readonly duration: string;
  readonly ramp: string;
  readonly stages?: string;
  readonly talkRatio: string;
  readonly speech?: string;
  readonly seed: string;
  readonly processes: string;
  readonly retry: boolean;
  readonly assert?: string;
  readonly findCapacity: boolean;
  readonly json?: string;
  readonly html?: string;
}

/** Protocols that can be spoken. */
const LOAD_DIALECT_NAMES = ['native', 'deepgram'] as const satisfies readonly LoadDialectName[];

/** Adds them to a command, whose action then gets `LoadFlags`. */
export function withLoadFlags(command: Command): Command {
  return command
    .option('--url <url>', 'server, such as ws://127.0.0.1:8080; without it, a server of its own')
    .addOption(tokenOption())
    .addOption(choiceOption('--dialect <name>', 'protocol that is spoken', LOAD_DIALECT_NAMES))
    .addOption(choiceOption('--encoding <name>', 'how the audio is sent', LOAD_ENCODINGS))
    .option('--sessions <count>', 'sessions at a time', '10')
    .option('--duration <time>', 'how long they go on, such as 30s or 10m', '30s')
    .option('--ramp <time>', 'time in which they begin, one after the other', '2s')
    .option('--stages <list>', 'instead of those three: COUNT:HOLD[:RAMP],… such as 10:30s,50:2m:20s')
    .option('--talk-ratio <share>', 'share of the time in which each of them speaks', '0.2')
    .option('--speech <folder>', 'recordings to play: WAV files and refs.tsv (file<tab>text)')
    .option('--seed <number>', 'the same seed gives the same load', '1')
    .option('--processes <count>', 'processes that generate the load', '1')
    .option('--retry', 'ask again where a session is refused (429, 503), when told to', false)
    .option('--assert <list>', 'status 1 unless all hold, such as true_end_p95<1s,lost=0,refused=0,wer<=10%')
    .option('--find-capacity', 'look for the most sessions that keep what is asserted', false)
    .option('--json <file>', 'write the report as JSON')
    .option('--html <file>', 'write the report as a page with charts');
}
