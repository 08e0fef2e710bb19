/** Options of the command line whose values are checked as they are read. */
import { InvalidArgumentError, Option } from 'commander';
import { BENCH_MAX_SECONDS } from '../../pipeline/limits.ts';
import { TOKEN_VARIABLE } from '../config.ts';

/** `--seconds`: a whole number from 1 to BENCH_MAX_SECONDS. */
export function secondsOption(): Option {
  const parse = (text: string): number => {
    const seconds = Number(text);
    if (Number.isInteger(seconds) && seconds >= 1 && seconds <= BENCH_MAX_SECONDS) return seconds;
    throw new InvalidArgumentError(`Expected a whole number from 1 to ${BENCH_MAX_SECONDS}.`);
  };
  return new Option('--seconds <count>', 'time to measure each way').argParser(parse).default(5);
}

/** `--speed`: a number above 0. */
export function speedOption(): Option {
  const parse = (text: string): number => {
    const speed = Number(text);
    if (speed > 0 && Number.isFinite(speed)) return speed;
    throw new InvalidArgumentError('Expected a number above 0.');
  };
  return new Option('--speed <number>', 'how fast the audio is sent; 1 is real time')
    .argParser(parse)
    .default(1);
}

/** An option that takes one of these words; the first is its default. */
export function choiceOption(flags: string, help: string, values: readonly [string, ...string[]]): Option {
  return new Option(flags, help).choices(values).default(values[0]);
}

/** `--token`: the credential of a client; also from the environment, where other users of the machine do not see it. */
export function tokenOption(): Option {
  return new Option('--token <text>', 'API key or token, if the server at --url asks for one').env(
    TOKEN_VARIABLE,
  );
}
