/** The end of a worker process that no restart can help: its configuration or its weights are wrong. */
import { EXIT_CONFIG } from '../../pipeline/errors.ts';

/**
 * What `loading` loads. Should it reject, says why in one line on stderr and has `exit` end the process with
 * EXIT_CONFIG, so that its supervisor gives it up. Only for what depends on nothing but configuration and weights.
 */
export async function loadedOrExit<T>(loading: Promise<T>, exit: (status: number) => never): Promise<T> {
  try {
    return await loading;
  } catch (error) {
    process.stderr.write(`earwitness: ${describe(error)}\n`);
    return exit(EXIT_CONFIG);
  }
}

/** The message and those of its causes, on one line. */
function describe(error: unknown): string {
  const messages: string[] = [];
  let cause = error;
  while (cause instanceof Error) {
    messages.push(cause.message);
    cause = cause.cause;
  }
  return messages.join(': ').replaceAll(/\s+/g, ' ');
}
