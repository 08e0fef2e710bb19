import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findById } from '../../server/commands/short_id.ts';

void describe('a shortened id', () => {
  it('[CLI20] an id may be shortened to a beginning that only one has', () => {
    const [first, second] = [{ id: '0f0e' }, { id: '0f1a' }];
    const find = (id: string): unknown =>
      findById(id, [first, second], { noun: 'report', place: 'in /x', command: 'earwitness crashes list' });
    assert.equal(find('0f1a'), second);
    assert.equal(find('0f0'), first);
    assert.throws(() => find('0f'), {
      message: '2 reports begin with 0f in /x; `earwitness crashes list` lists them',
    });
    assert.throws(() => find('1'), {
      message: 'no report begins with 1 in /x; `earwitness crashes list` lists them',
    });
  });
});
