import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';
import { sendSource, type AudioPacket, type AudioSource } from '../../client/audio_source.ts';
import { PcmSource } from '../../client/pcm_source.ts';
import type { StreamClient } from '../../client/stream_client.ts';

type Verdict = ReturnType<StreamClient['send']>;

/** A client whose answers a test has written down. */
class ScriptedClient implements Pick<StreamClient, 'send' | 'drained' | 'unsentMs'> {
  readonly log: string[] = [];
  unsentMs = 0;
  readonly #verdicts: Verdict[];

  constructor(...verdicts: Verdict[]) {
    this.#verdicts = verdicts;
  }
  send(bytes: Uint8Array): Verdict {
    const verdict = this.#verdicts.shift() ?? 'accepted';
    this.log.push(`${bytes[0] ?? -1} ${verdict}`);
    return verdict;
  }
  drained(): Promise<void> {
    this.log.push('drained');
    this.unsentMs = 0;
    return Promise.resolve();
  }
}

class NumberSource implements AudioSource {
  readonly audio = { encoding: 'opus' } as const;
  readonly isLive: boolean;
  closeCount = 0;

  constructor(isLive: boolean) {
    this.isLive = isLive;
  }
  async *packets(): AsyncGenerator<AudioPacket, void, void> {
    for (const number of [1, 2, 3]) {
      yield await Promise.resolve({ bytes: Uint8Array.of(number), durationMs: 20 });
    }
  }
  close(): Promise<void> {
    this.closeCount++;
    return Promise.resolve();
  }
}

describe('a source that is sent', () => {
  it('[CAP4] goes out in order to its end, and is closed', async () => {
    const client = new ScriptedClient();
    const source = new NumberSource(true);
    let sentMs = 0;
    await sendSource(client, source, ({ durationMs }) => (sentMs += durationMs));
    assert.deepEqual(client.log, ['1 accepted', '2 accepted', '3 accepted']);
    assert.equal(sentMs, 60);
    assert.equal(source.closeCount, 1);
  });

  it('[CAP4] waits for room where there is none, and loses nothing', async () => {
    const client = new ScriptedClient('full', 'full');
    await sendSource(client, new NumberSource(true));
    assert.deepEqual(client.log.slice(0, 5), ['1 full', 'drained', '1 full', 'drained', '1 accepted']);
  });

  it('[CAP5] is held back while audio waits in the client, unless it is live', async () => {
    for (const isLive of [true, false]) {
      const client = new ScriptedClient();
      client.unsentMs = 1_001;
      await sendSource(client, new NumberSource(isLive));
      assert.equal(client.log[0], isLive ? '1 accepted' : 'drained');
    }
  });

  it('[CAP4] is closed when the client ends first', async () => {
    const client = new ScriptedClient('accepted', 'closed');
    const source = new NumberSource(true);
    await sendSource(client, source);
    assert.deepEqual(client.log, ['1 accepted', '2 closed']);
    assert.equal(source.closeCount, 1);
  });
});

describe('PCM from a stream', () => {
  const bytes = Uint8Array.from({ length: 3_333 }, (_, i) => i % 251);

  it('[CAP6] is cut into messages of 20 ms, however its bytes come', async () => {
    for (const pieceBytes of [1, 7, 640, 4_000]) {
      const pieces: Uint8Array[] = [];
      for (let start = 0; start < bytes.length; start += pieceBytes) {
        pieces.push(bytes.slice(start, start + pieceBytes));
      }
      const source = new PcmSource({ bytes: Readable.from(pieces) as AsyncIterable<Uint8Array> });
      const packets: AudioPacket[] = [];
      for await (const packet of source.packets()) packets.push(packet);
      assert.deepEqual(Buffer.concat(packets.map((packet) => packet.bytes)), Buffer.from(bytes));
      assert.deepEqual(
        packets.map((packet) => packet.durationMs),
        [20, 20, 20, 20, 20, 133 / 32],
      );
    }
  });

  it('[CAP6] ends when it is closed', async () => {
    const source = new PcmSource({ bytes: [bytes], sampleRateHz: 8_000, channels: 2 });
    assert.deepEqual(source.audio, { encoding: 'pcm_s16le', sampleRateHz: 8_000, channels: 2 });
    let count = 0;
    for await (const packet of source.packets()) {
      assert.equal(packet.bytes.length, 640);
      if (++count === 2) await source.close();
    }
    assert.equal(count, 2);
  });
});
