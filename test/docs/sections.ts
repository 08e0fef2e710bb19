/** The parts of the documents that follow from the code. */
import { readFileSync } from 'node:fs';
import { CLOSE_CODES, ERROR_CODES, type ErrorCode } from '../../pipeline/errors.ts';
import { renderSettingsTable } from '../../server/settings.ts';
import { renderMarkdownTable } from '../../server/commands/text_table.ts';

/** A stretch of a document between `<!-- name:start -->` and `<!-- name:end -->`, and what must stand there. */
export interface Section {
  readonly file: string;
  readonly name: string;
  readonly render: () => string;
}

export const SECTIONS: readonly Section[] = [
  { file: 'README.md', name: 'config', render: renderSettingsTable },
  { file: 'SPEC.md', name: 'errors', render: renderErrors },
];

/** Where the documents are, seen from the compiled tests. */
export const ROOT = new URL('../../../', import.meta.url);

export function readDocument(file: string): string {
  return readFileSync(new URL(file, ROOT), 'utf8');
}

/** Replaces a section in a document. Throws if its markers are not there. */
export function withSection(document: string, section: Section): string {
  const start = `<!-- ${section.name}:start -->`;
  const end = `<!-- ${section.name}:end -->`;
  const from = document.indexOf(start);
  const to = document.indexOf(end);
  if (from === -1 || to < from) throw new Error(`${section.file} needs ${start} and ${end}`);
  return `${document.slice(0, from + start.length)}\n\n${section.render().trim()}\n\n${document.slice(to)}`;
}

function renderErrors(): string {
  const rows = (Object.keys(ERROR_CODES) as ErrorCode[]).map((code) => [
    `\`${code}\``,
    String(CLOSE_CODES[code]),
    ERROR_CODES[code],
  ]);
  return renderMarkdownTable([['code', 'close', 'meaning'], ...rows]);
}
