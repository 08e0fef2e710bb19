/** Makes the sample of the page, which nobody has ever spoken: synthetic voices, as Opus in WebM. Part of the build. */
import { existsSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { BufferTarget, EncodedAudioPacketSource, EncodedPacket, Output, WebMOutputFormat } from 'mediabunny';
import { SAMPLE_RATE_HZ } from '../../pipeline/audio.ts';
import { encodeOpus, OPUS_ENCODER_PACKET_MS } from '../../server/commands/opus_encoder.ts';
import { concat, silence } from '../support/sound.ts';
import { synthesise, type Voice } from '../support/speech.ts';
import { SAMPLE_SENTENCES } from './sample_text.ts';

const PAUSE_MS = 900;
/** RFC 7845 section 5.1. libopus looks 6.5 ms ahead: 312 samples at 48 kHz. */
const PRE_SKIP_SAMPLES = 312;

const folder = new URL('../../page_sample/', import.meta.url);
const path = fileURLToPath(new URL('sample.webm', folder));

async function makeSample(): Promise<Uint8Array> {
  const parts: Int16Array[] = [silence(300)];
  for (const [i, sentence] of SAMPLE_SENTENCES.entries()) {
    const voice: Voice = i % 2 === 0 ? 'slt' : 'rms';
    parts.push(await synthesise(sentence, { voice }), silence(PAUSE_MS));
  }
  return webmOf(encodeOpus(concat(...parts)));
}

async function webmOf(packets: readonly Uint8Array[]): Promise<Uint8Array> {
  const target = new BufferTarget();
  const output = new Output({ format: new WebMOutputFormat(), target });
  const track = new EncodedAudioPacketSource('opus');
  output.addAudioTrack(track);
  await output.start();
  const decoderConfig = {
    codec: 'opus',
    sampleRate: SAMPLE_RATE_HZ,
    numberOfChannels: 1,
    description: opusHead(),
  };
  const durationSeconds = OPUS_ENCODER_PACKET_MS / 1_000;
  for (const [i, bytes] of packets.entries()) {
    const packet = new EncodedPacket(bytes, 'key', i * durationSeconds, durationSeconds);
    await track.add(packet, i === 0 ? { decoderConfig } : {});
  }
  await output.finalize();
  if (target.buffer === null) throw new Error('no file was made');
  return new Uint8Array(target.buffer);
}

function opusHead(): Uint8Array {
  const head = Buffer.alloc(19);
  head.write('OpusHead', 'latin1');
  head.writeUInt8(1, 8);
  head.writeUInt8(1, 9);
  head.writeUInt16LE(PRE_SKIP_SAMPLES, 10);
  head.writeUInt32LE(SAMPLE_RATE_HZ, 12);
  return head;
}

// The text of the sample is part of this file's build: a new one comes with `rm -r dist`.
if (!existsSync(path)) {
  await mkdir(folder, { recursive: true });
  await writeFile(`${path}.part`, await makeSample());
  await rename(`${path}.part`, path);
}
