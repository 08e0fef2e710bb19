import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WebSocketServer, type WebSocket } from 'ws';
import type { ClientMessage, ServerMessage, StartMessage } from '../../client/protocol.ts';
import { FIRST_CONNECTION_MAX_ATTEMPTS } from '../../pipeline/limits.ts';
import { loadConfig } from '../../server/config.ts';
import { FirstConnection } from '../../server/commands/first_connection.ts';
import {
  streamUrl,
  transcribeFiles,
  type TranscribeOptions,
} from '../../server/commands/transcribe_command.ts';
import { KeptLog } from '../support/real_server.ts';
import { finalOf } from '../support/scripted_socket.ts';
import { silence } from '../support/sound.ts';
import { wavOf } from '../support/wav.ts';

const READY: ServerMessage = {
  type: 'ready',
  version: 1,
  sessionId: 'one',
  model: 'fake',
  limits: {
    messageMaxBytes: 1_500,
    idleMaxMs: 9_000,
    sessionMaxMs: 60_000,
    aheadOfRealtimeMaxMs: 30_000,
    catchUpRatio: 1,
  },
  endpointing: { silenceMs: 500, maxUtteranceMs: 20_000 },
};

/** What a stand-in server heard. */
interface Heard {
  readonly start: StartMessage;
  readonly audioCount: number;
  /** Subprotocols offered, the credentials among them. */
  readonly protocols: string | undefined;
}

/** A server that says the same whatever it hears. */
class StandInServer {
  readonly heard: Heard[] = [];
  readonly #server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  #answers: readonly ServerMessage[] = [];
  onStart: () => void = () => undefined;

  constructor() {
    this.#server.on('connection', (socket, request) => {
      this.#serve(socket, request.headers['sec-websocket-protocol']);
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Sent when a client says `stop`, or `start` if the first is an error. */
  set answers(answers: readonly ServerMessage[]) {
    this.#answers = answers;
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
  }

  #serve(socket: WebSocket, protocols: string | undefined): void {
    let audioCount = 0;
    let start: StartMessage | undefined;
    const send = (messages: readonly ServerMessage[]): void => {
      for (const message of messages) socket.send(JSON.stringify(message));
    };
    socket.on('message', (bytes: Buffer, isBinary) => {
      if (isBinary) {
        audioCount++;
        return;
      }
      const message = JSON.parse(bytes.toString()) as ClientMessage;
      if (message.type === 'start') {
        start = message;
        this.onStart();
        send(this.#answers[0]?.type === 'error' ? this.#answers : [READY]);
      } else if (message.type === 'stop' && start !== undefined) {
        this.heard.push({ start, audioCount, protocols });
        send([...this.#answers, { type: 'done' }]);
      }
    });
  }
}

class KeptStream extends Writable {
  text = '';
  isTTY = false;

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.text += bytes.toString();
    done();
  }
}

describe('the transcribe command', () => {
  const server = new StandInServer();
  let folder = '';
  let wav = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'earwitness-transcribe-'));
    wav = join(folder, 'speech.wav');
    await writeFile(wav, wavOf(silence(200)));
  });
  after(async () => {
    await server.close();
    await rm(folder, { recursive: true });
  });

  async function run(options: Partial<TranscribeOptions> & { readonly isTty?: boolean } = {}) {
    const stdout = new KeptStream();
    const stderr = new KeptStream();
    stderr.isTTY = options.isTty ?? false;
    const status = await transcribeFiles({
      files: [wav],
      url: server.url,
      speed: 1_000,
      encoding: 'opus',
      format: 'text',
      config: loadConfig({}).config,
      log: new KeptLog(),
      stdout,
      stderr,
      signal: new AbortController().signal,
      ...options,
    });
    return { status, stdout: stdout.text, stderr: stderr.text };
  }

  it('[TRC1] prints the text of each final and returns 0', async () => {
    server.answers = [finalOf(1, 100, 'Hello.'), finalOf(2, 150, ''), finalOf(3, 200, 'World.')];
    assert.deepEqual(await run(), { status: 0, stdout: 'Hello.\nWorld.\n', stderr: '' });
    const heard = server.heard.at(-1);
    assert.equal(heard?.audioCount, 10);
    assert.equal(heard.start.partials, false, 'partials nobody sees are not asked for');
    assert.deepEqual(heard.start.endpointing, { silenceMs: 500, maxUtteranceMs: 20_000 });
  });

  it('[TRC2] JSON goes to stdout alone, with words', async () => {
    server.answers = [finalOf(1, 100, 'Hello.')];
    const { status, stdout, stderr } = await run({ format: 'json', encoding: 'pcm_s16le' });
    assert.equal(status, 0);
    assert.equal(stderr, '');
    const finals = [{ utteranceId: 1, startAudioMs: 0, endAudioMs: 100, text: 'Hello.' }];
    assert.deepEqual(JSON.parse(stdout), { file: wav, durationMs: 200, finals });
    assert.equal(server.heard.at(-1)?.start.words, true);
    assert.equal(server.heard.at(-1)?.start.audio?.encoding, 'pcm_s16le');
  });

  it('[TRC3] a terminal shows partials in place and keeps finals', async () => {
    const span = { startAudioMs: 0, endAudioMs: 100 };
    const partial = {
      type: 'partial',
      utteranceId: 1,
      revision: 1,
      text: 'Hel',
      stableLength: 0,
      ...span,
    } as const;
    server.answers = [partial, finalOf(1, 100, 'Hello.')];
    const text = await run({ isTty: true });
    assert.deepEqual(text, { status: 0, stdout: 'Hello.\n', stderr: '\r\u001B[2KHel\r\u001B[2K' });
    const subtitles = await run({ isTty: true, format: 'srt' });
    assert.equal(subtitles.stderr, '\r\u001B[2KHel\r\u001B[2KHello.\n');
    assert.equal(subtitles.stdout, '1\n00:00:00,000 --> 00:00:00,100\nHello.\n\n');
  });

  it('[TRC4] a file that cannot be read does not keep the others from being transcribed', async () => {
    server.answers = [finalOf(1, 100, 'Hello.')];
    const missing = join(folder, 'missing.wav');
    const { status, stdout, stderr } = await run({ files: [missing, wav] });
    assert.equal(status, 1);
    assert.equal(stdout, `${wav}: Hello.\n`);
    assert.equal(stderr, `earwitness: ${missing}: there is no such file\n`);
    assert.deepEqual(await run({ files: [folder], url: undefined }), {
      status: 1,
      stdout: '',
      stderr: `earwitness: ${folder}: this is a folder; name the files in it\n`,
    });
  });

  it('[TRC5] what the server refuses or notices is told with the name of the file', async () => {
    server.answers = [{ type: 'error', code: 'bad_settings', message: 'no such model', retryable: false }];
    assert.deepEqual(await run(), {
      status: 1,
      stdout: '',
      stderr: `earwitness: ${wav}: no such model (bad_settings)\n`,
    });
    server.answers = [{ type: 'error', code: 'unauthorized', message: 'send `token`', retryable: false }];
    assert.match((await run()).stderr, /: the server lets nobody in .*: give --token or EARWITNESS_TOKEN\n$/);
    server.answers = [{ type: 'notice', code: 'packets_lost', message: 'a packet was lost' }];
    assert.deepEqual(await run(), {
      status: 0,
      stdout: '',
      stderr: `earwitness: ${wav}: a packet was lost\n`,
    });
  });

  it('[TRC6] an abort ends it without a word', async () => {
    for (const moment of ['file', 'start'] as const) {
      const controller = new AbortController();
      const ending = run({ speed: 0.1, signal: controller.signal });
      server.onStart = () => {
        controller.abort();
      };
      if (moment === 'file') controller.abort();
      const { stdout, stderr } = await ending;
      assert.deepEqual([stdout, stderr], ['', '']);
    }
    server.onStart = () => undefined;
  });

  it('[TRC6] nor while it waits for a connection', async (test) => {
    const silent = createServer().listen(0, '127.0.0.1');
    test.after(() => silent.close());
    await once(silent, 'listening');
    const controller = new AbortController();
    silent.once('connection', () => {
      controller.abort();
    });
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    assert.equal((await run({ url, signal: controller.signal })).stderr, '');
  });

  it('[TRC6] interrupted in mid-session the program ends with status 130', async () => {
    server.answers = [];
    const main = fileURLToPath(new URL('../../server/main.js', import.meta.url));
    const args = [main, 'transcribe', '--url', server.url, '--speed', '0.001', wav];
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
      server.onStart = () => {
        // The first packet is on its way, the second is 20 s away.
        setImmediate(() => child.kill(signal));
      };
      const [stderr, exit] = await Promise.all([text(child.stderr), once(child, 'exit')]);
      assert.deepEqual([exit, stderr], [[130, null], '']);
    }
    server.onStart = () => undefined;
  });

  it('[TRC7] options that make no sense together are refused before anything is started', async () => {
    await assert.rejects(run({ files: [wav, wav], format: 'vtt', url: undefined }), { code: 'bad_config' });
    await assert.rejects(run({ url: 'localhost:8080' }), { code: 'bad_config' });
    for (const [given, url] of [
      ['http://host:8080', 'ws://host:8080/v1/stream'],
      ['https://host/', 'wss://host/v1/stream'],
      ['ws://host/other?token=1', 'ws://host/other?token=1'],
    ] as const) {
      assert.equal(streamUrl(given), url);
    }
    assert.throws(() => streamUrl('ftp://host'), { code: 'bad_config' });
    assert.throws(() => streamUrl('ws://'), { code: 'bad_config' });
  });

  it('[TRC8] a token goes to the server at the URL, and to no other', async () => {
    server.answers = [];
    assert.equal((await run({ token: 'secret' })).status, 0);
    assert.equal(server.heard.at(-1)?.protocols, 'bearer,secret');
    await assert.rejects(run({ token: 'secret', url: undefined }), { code: 'bad_config' });
  });

  it('[TRC8] a token may come in the environment, where the list of processes does not show it', async () => {
    server.answers = [];
    const main = fileURLToPath(new URL('../../server/main.js', import.meta.url));
    const env = { ...process.env, EARWITNESS_TOKEN: 'from-env' };
    const statusOf = async (...args: string[]): Promise<unknown> => {
      const child = spawn(process.execPath, [main, 'transcribe', ...args], { env, stdio: 'ignore' });
      return (await once(child, 'exit'))[0];
    };
    assert.equal(await statusOf('--url', server.url, wav), 0);
    assert.equal(server.heard.at(-1)?.protocols, 'bearer,from-env');
    assert.equal(await statusOf('--url', server.url, '--token', 'given', wav), 0);
    assert.equal(server.heard.at(-1)?.protocols, 'bearer,given');
    assert.equal(await statusOf(join(folder, 'none.wav')), 1, 'without --url it is left alone');
  });

  it('[TRC9] a server that cannot be reached is told at once with the cause, and given up soon', async () => {
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const url = `http://127.0.0.1:${(closed.address() as AddressInfo).port}`;
    closed.close();
    const startMs = performance.now();
    const { status, stderr } = await run({ url: `${url}?token=secret` });
    assert(performance.now() - startMs < 10_000);
    assert.equal(status, 1);
    const [first, last, ...others] = stderr.trimEnd().split('\n');
    assert.match(first ?? '', /^earwitness: no connection to ws:.*\/v1\/stream yet: .*ECONNREFUSED/);
    assert.match(last ?? '', /no connection to ws:.* in 5 attempts: .*ECONNREFUSED.*; is the server running/);
    assert.deepEqual(others, []);
    assert.doesNotMatch(stderr, /secret/);
  });

  it('[TRC9] one that refuses is given up without asking whether it runs, and one that is busy is not', () => {
    for (const [status, expected] of [
      [401, 'no connection to ws://host/path in 5 attempts: Unexpected server response: 401'],
      [503, undefined],
    ] as const) {
      const told: string[] = [];
      let end: string | undefined;
      const first = new FirstConnection({
        url: 'ws://user:word@host/path?token=1',
        tell: (message) => told.push(message),
        giveUp: () => {
          end = first.error?.message;
        },
      });
      for (let i = 0; i < FIRST_CONNECTION_MAX_ATTEMPTS; i++) {
        const socket = new EventEmitter();
        first.watch(socket);
        socket.emit('error', new Error(`Unexpected server response: ${status}`));
      }
      assert.deepEqual(told, [`no connection to ws://host/path yet: Unexpected server response: ${status}`]);
      assert.equal(end, expected);
    }
  });
});
