/** Writes WAV files. */
import { SAMPLE_RATE_HZ } from '../../pipeline/audio.ts';

const HEADER_BYTES = 44;
const TAG_PCM = 1;

/** 16 kHz mono PCM as a WAV file of 16-bit samples. */
export function renderWav(pcm: Int16Array): Uint8Array {
  const wav = new Uint8Array(HEADER_BYTES + pcm.byteLength);
  const view = new DataView(wav.buffer);
  const encoder = new TextEncoder();
  wav.set(encoder.encode('RIFF'), 0);
  view.setUint32(4, wav.length - 8, true);
  wav.set(encoder.encode('WAVEfmt '), 8);
  view.setUint32(16, 16, true);
  view.setUint16(20, TAG_PCM, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, SAMPLE_RATE_HZ, true);
  view.setUint32(28, 2 * SAMPLE_RATE_HZ, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  wav.set(encoder.encode('data'), 36);
  view.setUint32(40, pcm.byteLength, true);
  for (let i = 0; i < pcm.length; i++) view.setInt16(HEADER_BYTES + 2 * i, pcm[i] ?? 0, true);
  return wav;
}
