/** Speech as a phone sends it: Opus in 20 ms packets at 24 kb/s, mono, 16 kHz. */
import { createRequire } from 'node:module';
import { msToSamples, SAMPLE_RATE_HZ } from '../../pipeline/audio.ts';

/** What the package's WebAssembly build exports; it has no types of its own. Never the native build: it crashes. */
interface OpusPackage {
  readonly Encoder: new (options: { channels: 1; sample_rate: number; application: 'voip' }) => {
    ctl(request: number, value: number): number;
    encode(pcm: Int16Array): Uint8Array;
    drop(): void;
  };
}

/** Duration of each packet in ms. */
export const OPUS_ENCODER_PACKET_MS = 20;
const BITRATE = 24_000;
/** OPUS_SET_BITRATE of opus_defines.h. */
const SET_BITRATE = 4_002;
/** OPUS_SET_COMPLEXITY. */
const SET_COMPLEXITY = 4_010;

/**
 * Encodes 16 kHz mono PCM; the last packet is filled up with silence. `complexity` is the effort, from 0 to 10; the
 * codec's own default is 9.
 */
export function encodeOpus(pcm: Int16Array, complexity = 9): Uint8Array[] {
  // The package compiles its codec when it is loaded: only whoever encodes shall pay for that.
  const { Encoder } = createRequire(import.meta.url)('@evan/opus/wasm/index.js') as OpusPackage;
  const encoder = new Encoder({ channels: 1, sample_rate: SAMPLE_RATE_HZ, application: 'voip' });
  try {
    encoder.ctl(SET_BITRATE, BITRATE);
    encoder.ctl(SET_COMPLEXITY, complexity);
    const packets: Uint8Array[] = [];
    const packetSamples = msToSamples(OPUS_ENCODER_PACKET_MS);
    for (let start = 0; start < pcm.length; start += packetSamples) {
      const frame = new Int16Array(packetSamples);
      frame.set(pcm.subarray(start, start + packetSamples));
      packets.push(encoder.encode(frame));
    }
    return packets;
  } finally {
    encoder.drop();
  }
}
