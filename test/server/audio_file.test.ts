import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { OggOutputFormat, WebMOutputFormat } from 'mediabunny';
import { encodeMessages, readAudioFile, readPcm } from '../../server/commands/audio_file.ts';
import { encodeOpus } from '../../server/commands/opus_encoder.ts';
import { muxed } from '../support/containers.ts';
import { tone } from '../support/sound.ts';
import { wavOf } from '../support/wav.ts';

describe('audio files', () => {
  const pcm = tone({ durationMs: 205, dbfs: -6, hz: 440 });
  const packets = encodeOpus(pcm);
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'earwitness-audio-file-'));
    await writeFile(join(folder, 'speech.wav'), wavOf(pcm));
    await writeFile(join(folder, 'speech.ogg'), await muxed(packets, new OggOutputFormat()));
    await writeFile(join(folder, 'speech.webm'), await muxed(packets, new WebMOutputFormat()));
    await writeFile(join(folder, 'speech.mp3'), 'ID3 and so on');
    await writeFile(join(folder, 'notes.txt'), 'words');
    await writeFile(join(folder, 'broken.ogg'), 'OggS and then nothing');
  });
  after(() => rm(folder, { recursive: true }));

  it('[FILE1] WAV becomes PCM messages of 20 ms that together are the samples', async () => {
    const messages = await readAudioFile(join(folder, 'speech.wav'), 'pcm_s16le');
    assert.deepEqual(
      messages.map(({ durationMs }) => durationMs),
      [...Array<number>(10).fill(20), 5],
    );
    const bytes = Buffer.concat(messages.map((message) => message.bytes));
    assert.deepEqual(bytes, Buffer.from(pcm.buffer));
    assert.deepEqual(await readPcm(join(folder, 'speech.wav')), pcm);
  });

  it('[FILE2] WAV becomes Opus packets of 20 ms at 24 kb/s, the last filled up with silence', async () => {
    const messages = await readAudioFile(join(folder, 'speech.wav'), 'opus');
    assert.equal(messages.length, 11);
    assert(messages.every(({ durationMs }) => durationMs === 20));
    const long = encodeMessages(tone({ durationMs: 5_000, dbfs: -20, hz: 300 }), 'opus');
    const bitRate = (8 * long.reduce((sum, { bytes }) => sum + bytes.length, 0)) / 5;
    assert(bitRate > 10_000 && bitRate < 28_000, `${bitRate} bit/s`);
  });

  for (const name of ['speech.ogg', 'speech.webm']) {
    it(`[FILE3] the Opus packets of ${name} are passed on as they are, or decoded`, async () => {
      const messages = await readAudioFile(join(folder, name), 'opus');
      assert.deepEqual(
        messages.map(({ bytes }) => Buffer.from(bytes)),
        packets.map((packet) => Buffer.from(packet)),
      );
      const decoded = await readPcm(join(folder, name));
      assert.equal(decoded.length, 320 * packets.length);
      const power = decoded.reduce((sum, sample) => sum + sample ** 2, 0) / decoded.length;
      assert(Math.abs(10 * Math.log10(power / 32_768 ** 2) + 6) < 1.5, 'it is as loud as what was encoded');
    });
  }

  it('[FILE4] anything else is refused with the name of the file and what it is', async () => {
    for (const [name, reason] of [
      ['speech.mp3', 'expected WAV, or Opus in Ogg or WebM; this is MP3'],
      ['notes.txt', 'expected WAV, or Opus in Ogg or WebM; this is something else'],
      ['missing.wav', 'there is no such file'],
    ] as const) {
      const path = join(folder, name);
      await assert.rejects(readAudioFile(path, 'opus'), {
        code: 'unsupported_audio',
        message: `${path}: ${reason}`,
      });
    }
    await assert.rejects(readPcm(join(folder, 'broken.ogg')), { code: 'unsupported_audio' });
    await assert.rejects(readPcm(folder), { code: 'unsupported_audio' });
  });
});
