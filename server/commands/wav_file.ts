/** Reads the samples of a WAV file. */
import { joinPcm, SAMPLE_RATE_HZ } from '../../pipeline/audio.ts';
import { AudioError } from '../../pipeline/errors.ts';
import { PcmConverter } from '../../pipeline/codecs/pcm_converter.ts';
import { SAMPLE_FORMATS } from '../../pipeline/codecs/pcm_samples.ts';
import { REFUSALS } from '../../pipeline/refusal.ts';
import { FilterCache } from '../../pipeline/codecs/resampler.ts';
import { WavDemuxer } from '../../pipeline/codecs/wav_demuxer.ts';

/** Bytes that are converted at a time; bounds the memory that a long file takes. */
const BLOCK_BYTES = 65_536;

/**
 * The audio of a WAV file as 16 kHz mono PCM: integers of 8 to 32 bits, floats, mu-law or A-law, from 8 kHz on, the
 * mean of its channels. A file that was cut off ends where it was cut; what is no sample is silence. Throws
 * `AudioError` (`unsupported_audio`) for anything else.
 */
export function readWav(bytes: Uint8Array): Int16Array {
  const demuxer = new WavDemuxer();
  const filters = new FilterCache();
  const parts: Int16Array[] = [];
  let converter: PcmConverter | undefined;
  let sampleBytes = 0;
  for (let start = 0; start < bytes.length; start += BLOCK_BYTES) {
    for (const item of demuxer.push(bytes.subarray(start, start + BLOCK_BYTES))) {
      if (item.type === 'refused') throw unreadable(REFUSALS[item.reason]);
      if (demuxer.layout !== undefined) converter ??= new PcmConverter(demuxer.layout, filters);
      if (converter !== undefined) parts.push(converter.push(item.bytes).pcm);
      sampleBytes += item.bytes.length;
    }
  }
  const { layout } = demuxer;
  if (layout === undefined) throw unreadable('it has no format or no samples');
  if (converter === undefined) return new Int16Array(0);
  const { samples, channels, sampleRateHz } = layout;
  const frameCount = Math.floor(sampleBytes / (SAMPLE_FORMATS[samples].bytes * channels));
  // What the resampler holds back belongs to it, the silence behind that does not.
  return joinPcm([...parts, converter.drain()]).slice(
    0,
    Math.round((frameCount * SAMPLE_RATE_HZ) / sampleRateHz),
  );
}

function unreadable(reason: string): AudioError {
  return new AudioError('unsupported_audio', `this WAV file cannot be read: ${reason}`);
}
