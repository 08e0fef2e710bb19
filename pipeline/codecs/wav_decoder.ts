/** One session's WAV: its header says what the samples are. */
import { joinPcm } from '../audio.ts';
import type { AudioDecoder, DecodedAudio } from '../contracts.ts';
import { PcmConverter } from './pcm_converter.ts';
import { refusalCode, refusalOf, refused, type Refusal } from '../refusal.ts';
import type { FilterCache } from './resampler.ts';
import { packSnapshot, unpackSnapshot } from '../snapshot.ts';
import { WavDemuxer } from './wav_demuxer.ts';

const SNAPSHOT_KIND = 'W';

/** Like bare samples, once the header has come; refused for good if it is not one that can be read. */
export class WavDecoder implements AudioDecoder {
  readonly #demuxer = new WavDemuxer();
  readonly #filters: FilterCache;
  #converter: PcmConverter | undefined;
  #refusal: Refusal | undefined;

  constructor(filters: FilterCache) {
    this.#filters = filters;
  }

  decode(message: Uint8Array): DecodedAudio {
    if (this.#refusal !== undefined) return refused(this.#refusal);
    const parts: Int16Array[] = [];
    let hasDamage = false;
    for (const item of this.#demuxer.push(message)) {
      if (item.type === 'refused') {
        this.#refusal = item.reason;
        return refused(item.reason, joinPcm(parts));
      }
      const converted = this.#convert(item.bytes);
      hasDamage ||= converted?.isDamaged === true;
      if (converted !== undefined) parts.push(converted.pcm);
    }
    const pcm = joinPcm(parts);
    return hasDamage ? { pcm, fault: 'undecodable_packet' } : { pcm };
  }

  #convert(bytes: Uint8Array): ReturnType<PcmConverter['push']> | undefined {
    const { layout } = this.#demuxer;
    if (layout !== undefined) this.#converter ??= new PcmConverter(layout, this.#filters);
    return this.#converter?.push(bytes);
  }

  snapshot(): Uint8Array {
    const converter = this.#converter?.save();
    return packSnapshot(SNAPSHOT_KIND, {
      fields: [refusalCode(this.#refusal)],
      parts: [this.#demuxer.save(), ...(converter === undefined ? [] : [converter])],
    });
  }

  /** Throws `AssertionError` for anything but a snapshot of this kind and version. */
  restore(snapshot: Uint8Array): void {
    const { fields, parts } = unpackSnapshot(SNAPSHOT_KIND, snapshot);
    const [demuxer = new Uint8Array(0), converter] = parts;
    this.#demuxer.restore(demuxer);
    this.#refusal = refusalOf(fields[0]);
    const { layout } = this.#demuxer;
    this.#converter = undefined;
    if (converter === undefined || layout === undefined) return;
    this.#converter = new PcmConverter(layout, this.#filters);
    this.#converter.restore(converter);
  }

  close(): void {
    // It holds nothing but memory.
  }
}
