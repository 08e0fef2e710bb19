/** The examples of the client's README, as the tests run them. */
import { readFileSync } from 'node:fs';

/** The code block below `<!-- example:NAME -->`. Throws if there is none. */
export function clientExample(name: 'browser' | 'node'): string {
  const document = readFileSync(new URL('../../../client/README.md', import.meta.url), 'utf8');
  const code = document.split(`<!-- example:${name} -->`)[1]?.match(/```js\n([^]*?)```/)?.[1];
  if (code === undefined) throw new Error(`client/README.md has no example ${name}`);
  return code;
}
