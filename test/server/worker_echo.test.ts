import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LOG_BUFFER_MAX_BYTES } from '../../pipeline/limits.ts';
import { echoTo } from '../../server/worker_echo.ts';

describe('what workers write to stderr', () => {
  it('[LOG13] is passed on without credentials and quoted speech, and dropped while nobody reads', () => {
    const output = {
      writableLength: 0,
      texts: [] as string[],
      write(text: string): void {
        this.texts.push(text);
      },
    };
    const echo = echoTo(output);
    echo(Buffer.from('onnxruntime: no such node\n'));
    echo(Buffer.from('GET /?token=CANARY Authorization: Bearer CANARY "text": "CANARY"\n'));
    output.writableLength = LOG_BUFFER_MAX_BYTES;
    echo(Buffer.from('a flood\n'));
    output.writableLength = LOG_BUFFER_MAX_BYTES - 1;
    echo(Buffer.from('room again\n'));
    const [first, second, ...rest] = output.texts;
    assert.equal(first, 'onnxruntime: no such node\n');
    assert.match(second ?? '', /^GET .*\[removed\]/);
    assert.doesNotMatch(second ?? '', /CANARY/);
    assert.deepEqual(rest, ['room again\n']);
  });
});
