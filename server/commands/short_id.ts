/** Ids on the command line, which may be shortened to a beginning that only one has. */
import { TranscriptionError } from '../../pipeline/errors.ts';

/**
 * The one whose id is `id` or begins with it. `noun` is what they are, `place` where they were looked for, `command`
 * what lists them. Throws `TranscriptionError` (`not_found`) if it is none of them, or several.
 */
export function findById<T extends { readonly id: string }>(
  id: string,
  things: readonly T[],
  names: { readonly noun: string; readonly place: string; readonly command: string },
): T {
  const exact = things.filter((thing) => thing.id === id);
  // An empty id is a variable that was not set: it must not mean the only one there is.
  const matches = exact.length > 0 || id === '' ? exact : things.filter((thing) => thing.id.startsWith(id));
  const [match] = matches;
  if (match !== undefined && matches.length === 1) return match;
  const { noun, place, command } = names;
  const found = matches.length > 1 ? `${matches.length} ${noun}s begin` : `no ${noun} begins`;
  throw new TranscriptionError('not_found', `${found} with ${id} ${place}; \`${command}\` lists them`);
}
