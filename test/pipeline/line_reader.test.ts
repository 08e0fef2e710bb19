import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { WORKER_LINE_MAX_LENGTH } from '../../pipeline/limits.ts';
import { LineReader } from '../../pipeline/line_reader.ts';

function linesOf(pieces: readonly Uint8Array[]): readonly string[] {
  const lines: string[] = [];
  const reader = new LineReader((line) => lines.push(line));
  for (const piece of pieces) reader.push(piece);
  reader.end();
  return lines;
}

describe('lines of a process', () => {
  it('[LOG14] are the same however the bytes are cut, letters of several bytes included', () => {
    const text = fc.array(fc.constantFrom('a', 'é', '語', '🎙', '\n', '\r\n', ' '), { maxLength: 40 });
    fc.assert(
      fc.property(text, fc.array(fc.nat(80), { maxLength: 8 }), (parts, cuts) => {
        const bytes = Buffer.from(parts.join(''));
        const at = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
        const pieces = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
        const expected = parts.join('').split(/\r?\n/);
        if (expected.at(-1) === '') expected.pop();
        assert.deepEqual(linesOf(pieces), expected);
      }),
    );
  });

  it('[LOG14] one that is too long is cut, and the next is whole', () => {
    const long = 'x'.repeat(WORKER_LINE_MAX_LENGTH + 10);
    const pieces = [long.slice(0, 100), `${long.slice(100)}\nnext`].map((piece) => Buffer.from(piece));
    assert.deepEqual(linesOf(pieces), [long.slice(0, WORKER_LINE_MAX_LENGTH), 'next']);
  });
});
