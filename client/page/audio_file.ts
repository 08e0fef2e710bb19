/** A person's own recording as a source of audio: whatever their browser can play. */
import { PcmSource } from '../pcm_source.ts';

const RATE_HZ = 16_000;
/** Decoded, a file takes about ten times its size in the browser's memory. */
const AUDIO_FILE_MAX_BYTES = 100 * 1_024 * 1_024;
const PIECE_SAMPLES = RATE_HZ;

/** Decodes the file to 16 kHz mono. Rejects if the browser cannot. */
export async function openAudioFile(file: File): Promise<PcmSource> {
  if (file.size > AUDIO_FILE_MAX_BYTES) throw new RangeError('the file is too large');
  // Decoding brings audio to the rate of the context, and this kind of context needs no sound card.
  const context = new OfflineAudioContext(1, 1, RATE_HZ);
  const audio = await context.decodeAudioData(await file.arrayBuffer());
  return new PcmSource({ bytes: monoPcm(audio), sampleRateHz: RATE_HZ });
}

function* monoPcm(audio: AudioBuffer): Generator<Uint8Array, void, void> {
  const channels = Array.from({ length: audio.numberOfChannels }, (_, i) => audio.getChannelData(i));
  for (let start = 0; start < audio.length; start += PIECE_SAMPLES) {
    const count = Math.min(PIECE_SAMPLES, audio.length - start);
    const piece = new DataView(new ArrayBuffer(2 * count));
    for (let i = 0; i < count; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[start + i] ?? 0;
      const sample = Math.round((sum / channels.length) * 32_768);
      piece.setInt16(2 * i, Math.max(-32_768, Math.min(32_767, sample)), true);
    }
    yield new Uint8Array(piece.buffer);
  }
}
