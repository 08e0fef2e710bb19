import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { readDocument, ROOT, SECTIONS, withSection } from './sections.ts';

const RULE = /[A-Z][A-Z\d]*-?\d+[a-z]?/g;
/** What a test or a row of the table of faults is called; not what is said about it elsewhere. */
const TITLE_OF_TEST = /^ *(?:void )?(?:it|test)\(\s*(?:'([^'\n]*)'|"([^"\n]*)"|`([^`\n]*)`)/gm;
const RULES_OF_TITLE = /\[([^\]]*)\]/g;
const ID_OF_ROW = /\bid: '([^'\n]+)', *\n?\s*title:/g;
const RULE_IN_SPEC = /^- \*\*([A-Z][A-Z\d]*-?\d+[a-z]?)\*\*/gm;

function rulesInTests(): Set<string> {
  const files = readdirSync(new URL('test/', ROOT), { recursive: true, encoding: 'utf8' });
  const rules = new Set<string>();
  for (const file of files.filter((name) => name.endsWith('.ts'))) {
    const source = readFileSync(new URL(`test/${file}`, ROOT), 'utf8');
    for (const [, ...quoted] of source.matchAll(TITLE_OF_TEST)) {
      for (const [, named = ''] of quoted.join('').matchAll(RULES_OF_TITLE)) addRules(rules, named);
    }
    if (file.startsWith('chaos')) for (const [, id = ''] of source.matchAll(ID_OF_ROW)) addRules(rules, id);
  }
  return rules;
}

function addRules(rules: Set<string>, text: string): void {
  for (const [rule] of text.matchAll(RULE)) rules.add(rule);
}

function rulesInSpec(): Set<string> {
  return new Set([...readDocument('SPEC.md').matchAll(RULE_IN_SPEC)].flatMap(([, rule]) => rule ?? []));
}

void describe('documents', () => {
  for (const section of SECTIONS) {
    it(`[DOC1] ${section.file} has the ${section.name} that the code has (npm run docs writes it)`, () => {
      const document = readDocument(section.file);
      assert.equal(document, withSection(document, section));
    });
  }

  it('[DOC4] every rule is there once', () => {
    const rules = [...readDocument('SPEC.md').matchAll(RULE_IN_SPEC)].flatMap(([, rule]) => rule ?? []);
    assert.deepEqual(
      rules.filter((rule, i) => rules.indexOf(rule) !== i),
      [],
    );
  });

  it('[DOC2] every rule of the specification has a test', () => {
    const tested = rulesInTests();
    assert.deepEqual(
      [...rulesInSpec()].filter((rule) => !tested.has(rule)),
      [],
    );
  });

  it('[DOC3] every rule that a test names is in the specification', () => {
    const specified = rulesInSpec();
    assert.deepEqual(
      [...rulesInTests()].filter((rule) => !specified.has(rule)),
      [],
    );
  });
});
