/** What workers write to stderr goes on to ours, where logs are collected: so it is bounded and scrubbed like a log. */
import { LOG_BUFFER_MAX_BYTES } from '../pipeline/limits.ts';
import { scrub } from './scrubbing.ts';

/** What is needed of `process.stderr`. */
export interface EchoOutput {
  readonly writableLength: number;
  write(text: string): unknown;
}

/** Passes words on without credentials and quoted speech; they are dropped while too much of `output` is unread. */
export function echoTo(output: EchoOutput): (words: Uint8Array) => void {
  return (words) => {
    if (output.writableLength >= LOG_BUFFER_MAX_BYTES) return;
    output.write(scrub(Buffer.from(words).toString('utf8')));
  };
}
