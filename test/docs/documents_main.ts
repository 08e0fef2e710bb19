/** `npm run docs`: writes the parts of the documents that follow from the code. */
import { writeFileSync } from 'node:fs';
import { readDocument, ROOT, SECTIONS, withSection } from './sections.ts';

for (const section of SECTIONS) {
  writeFileSync(new URL(section.file, ROOT), withSection(readDocument(section.file), section));
}
