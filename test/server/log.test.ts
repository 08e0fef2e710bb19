import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { InferenceError } from '../../pipeline/errors.ts';
import {
  LOG_BUFFER_MAX_BYTES,
  LOG_EVENT_MAX_COUNT,
  LOG_FLUSH_MAX_MS,
  LOG_REPEAT_MAX_COUNT,
  LOG_REPEAT_WINDOW_MS,
} from '../../pipeline/limits.ts';
import { createLog, SECRET_FIELDS, type LogOptions, type RootLog } from '../../server/records/log.ts';
import { FakeClock } from '../support/fake_clock.ts';

/** An output that keeps what it got and, while `isBlocked`, takes nothing more. */
class Reader extends Writable {
  text = '';
  isBlocked = false;
  isTTY = false;
  #resume: (() => void) | undefined;

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const take = (): void => {
      this.text += bytes.toString();
      done();
    };
    if (this.isBlocked) this.#resume = take;
    else take();
  }

  unblock(): void {
    this.isBlocked = false;
    this.#resume?.();
  }

  get lines(): readonly Record<string, unknown>[] {
    const lines = this.text.split('\n').filter((line) => line !== '');
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}

interface Bench {
  readonly log: RootLog;
  readonly output: Reader;
  readonly clock: FakeClock;
}
function create(options: Partial<LogOptions> = {}): Bench {
  const output = new Reader();
  const clock = new FakeClock();
  return { output, clock, log: createLog({ level: 'info', format: 'json', clock, output, ...options }) };
}

describe('log', () => {
  it('[LOG1] a line is one JSON object with time, level, pid, event and fields', () => {
    const { log, output } = create();
    log.child({ sessionId: 's1' }).warn('worker died', { pid: 7, signal: 'SIGSEGV' });
    assert.equal(output.text.split('\n').length, 2);
    const [line] = output.lines;
    assert.match(String(line?.['time']), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assert.deepEqual(
      { ...line, time: '' },
      { time: '', level: 'warn', pid: 7, sessionId: 's1', signal: 'SIGSEGV', msg: 'worker died' },
    );
  });

  it('[LOG2] lines below the level are not written', () => {
    const { log, output } = create({ level: 'warn' });
    log.debug('a');
    // Nor do they count as repeats of one that is.
    for (let i = 0; i <= LOG_REPEAT_MAX_COUNT; i++) log.info('c');
    log.warn('c');
    log.error('d');
    assert.deepEqual(
      output.lines.map((line) => line['msg']),
      ['c', 'd'],
    );
  });

  it('[LOG3] an error is written with its code, its stack and its cause', () => {
    const { log, output } = create();
    const cause = new Error('out of memory');
    log.error('job failed', { err: new InferenceError('worker_died', 'the worker died', { cause }) });
    const err = output.lines[0]?.['err'] as Record<string, unknown>;
    assert.equal(err['code'], 'worker_died');
    assert.match(String(err['stack']), /log\.test/);
    assert.equal((err['cause'] as Record<string, unknown>)['message'], 'out of memory');
  });

  it('[LOG4] credentials and what people said are never written', () => {
    const { log, output } = create();
    for (const field of SECRET_FIELDS) {
      log.info('flat', { [field]: 'CANARY' });
      log.info('nested', { request: { [field]: 'CANARY' } });
      log.child({ [field]: 'CANARY' }).info('child');
    }
    log.info('audio', { pcm: new Int16Array([1234, 5678]) });
    assert.equal(output.lines.length, SECRET_FIELDS.length * 3 + 1);
    assert.doesNotMatch(output.text, /CANARY|1234|5678/);
  });

  it('[LOG5] a field that cannot be written costs its fields, not the line and not the caller', () => {
    const { log, output } = create();
    const circular: Record<string, unknown> = { sizeBytes: 1n };
    circular['self'] = circular;
    log.info('circular', { circular });
    log.info('hostile', {
      get field(): never {
        throw new Error('hostile');
      },
    });
    assert.deepEqual(
      output.lines.map((line) => line['msg']),
      ['circular', 'hostile'],
    );
  });

  it('[LOG6] an event is held back after its bound, counted over all children, and summed up once', () => {
    const { log, output, clock } = create();
    for (let i = 0; i < LOG_REPEAT_MAX_COUNT + 5; i++) log.child({ i }).info('packet lost');
    log.info('another');
    assert.equal(output.lines.length, LOG_REPEAT_MAX_COUNT + 1);
    clock.jump(LOG_REPEAT_WINDOW_MS);
    const { event, count, msg } = output.lines.at(-1) ?? {};
    assert.deepEqual(
      { event, count, msg },
      { event: 'packet lost', count: 5, msg: 'repeated lines held back' },
    );
    assert.equal(output.lines.length, LOG_REPEAT_MAX_COUNT + 2);
    log.info('packet lost');
    assert.equal(output.lines.at(-1)?.['msg'], 'packet lost');
    clock.jump(LOG_REPEAT_WINDOW_MS);
    assert.equal(clock.timerCount, 0);
  });

  it('[LOG7] even events that are no constants cannot make the log grow without bound', () => {
    const { log, output } = create();
    for (let i = 0; i < LOG_EVENT_MAX_COUNT * 2; i++) log.info(`event ${i}`);
    assert.equal(output.lines.length, LOG_EVENT_MAX_COUNT + LOG_REPEAT_MAX_COUNT);
  });

  it('[LOG8] lines are dropped and counted while nobody reads, and the gap is told afterwards', async () => {
    const { log, output } = create();
    output.isBlocked = true;
    const field = 'x'.repeat(10_000);
    let writtenCount = 0;
    for (; output.writableLength < LOG_BUFFER_MAX_BYTES; writtenCount++)
      log.info(`event ${writtenCount}`, { field });
    for (let i = 0; i < 7; i++) log.info('lost');
    assert(output.writableLength < LOG_BUFFER_MAX_BYTES + 11_000);
    assert.equal(log.takeDroppedCount(), 7);
    assert.equal(log.takeDroppedCount(), 0);
    const flushed = log.flush();
    output.unblock();
    await flushed;
    assert.equal(output.lines.length, writtenCount + 1);
    const { msg, count } = output.lines.at(-1) ?? {};
    assert.deepEqual({ msg, count }, { msg: 'log lines dropped', count: 7 });
  });

  it('[LOG9] flush sums up what was held back and does not wait for ever', async () => {
    const { log, output, clock } = create();
    for (let i = 0; i < LOG_REPEAT_MAX_COUNT + 1; i++) log.info('again');
    await log.flush();
    assert.equal(output.lines.at(-1)?.['msg'], 'repeated lines held back');
    output.isBlocked = true;
    log.info('last');
    const flushed = log.flush();
    clock.jump(LOG_FLUSH_MAX_MS);
    await flushed;
  });

  it('[LOG10] a reader that has gone ends the log, not the server', async () => {
    const output = new Writable({
      // Like process.stdout, which nothing destroys.
      autoDestroy: false,
      write: (_bytes, _encoding, done) => {
        done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
      },
    });
    const log = createLog({ level: 'info', format: 'json', clock: new FakeClock(), output });
    log.info('one');
    await new Promise((resolve) => output.once('error', resolve));
    log.info('two');
    await log.flush();
    assert.equal(log.takeDroppedCount(), 2);
  });

  it('[LOG11] a terminal gets readable lines, with colours, and anything else JSON', () => {
    const output = new Reader();
    output.isTTY = true;
    create({ output, format: 'auto' }).log.info('ready', { port: 8080 });
    assert.match(output.text, /INFO.*ready/);
    assert(output.text.includes('\u001b['), output.text);
    const piped = create({ format: 'auto' });
    piped.log.info('ready', { port: 8080 });
    assert.equal(piped.output.lines[0]?.['port'], 8080);
    const plain = create({ format: 'pretty' });
    plain.log.info('ready', { port: 8080 });
    assert(!plain.output.text.includes('\u001b['), plain.output.text);
  });

  it('[LOG12] with a stdout that nobody reads the event loop goes on and the process can end', async () => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('blocked_log_main.js', import.meta.url))], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.pause();
    let told = '';
    child.stderr.on('data', (bytes: Buffer) => (told += bytes.toString()));
    const [exit] = await Promise.all([once(child, 'exit'), once(child.stderr, 'end')]);
    child.stdout.destroy();
    assert.deepEqual(exit, [0, null], told);
    const { droppedCount, rssGrowthBytes, loopDelayMs } = JSON.parse(told) as Record<string, number>;
    assert((droppedCount ?? 0) > 0, told);
    assert((rssGrowthBytes ?? Infinity) < 64 * LOG_BUFFER_MAX_BYTES, told);
    // A blocked write would hold the loop until the test's time-out; this only has to tell that from a busy machine.
    assert((loopDelayMs ?? Infinity) < 2_000, told);
  });
});
