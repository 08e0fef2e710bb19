/** The files of `deploy/`, for the tests that hold them to the code. */
import { readdirSync, readFileSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';

/** The repository's root. */
export const ROOT = new URL('../../../', import.meta.url);
export const DEPLOY = new URL('deploy/', ROOT);

export function readDeploy(path: string): string {
  return readFileSync(new URL(path, DEPLOY), 'utf8');
}

/** Paths of all files, below `deploy/`. */
export function deployPaths(): string[] {
  return readdirSync(DEPLOY, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(DEPLOY.pathname.length).replace(/^\//, ''));
}

/** The documents of a YAML file. Throws for anything that is not quite YAML. */
export function readYaml(path: string): unknown[] {
  return parseAllDocuments(readDeploy(path)).map((document) => {
    const [fault] = [...document.errors, ...document.warnings];
    if (fault !== undefined) throw fault;
    return document.toJS() as unknown;
  });
}

/** What is found at these keys of a parsed document; undefined if it is not there. */
export function at(node: unknown, ...keys: readonly (string | number)[]): unknown {
  return keys.reduce<unknown>(
    (own, key) => (own as Record<string | number, unknown> | undefined)?.[key],
    node,
  );
}
