/** Takes the samples out of WAV: what recorders, telephone systems and editors write, as files or while they record. */
import { startsWith } from './container_magic.ts';
import { PCM_RATE_MIN_HZ, WAV_CHANNELS_MAX_COUNT, WAV_FORMAT_MAX_BYTES, WAV_RATE_MAX_HZ } from '../limits.ts';
import { isConvertibleRate, layoutFields, layoutOf, type PcmLayout } from './pcm_converter.ts';
import type { SampleFormatName } from './pcm_samples.ts';
import { PendingBytes } from './pending_bytes.ts';
import type { Refusal } from '../refusal.ts';
import { packSnapshot, unpackSnapshot } from '../snapshot.ts';

/** RIFF, a size, WAVE; and a part's name and size. */
const FILE_HEAD_BYTES = 12;
const PART_HEAD_BYTES = 8;
const FORMAT_MIN_BYTES = 16;
/** Sizes that recorders write who do not know them yet. */
const OPEN_SIZES = [0, 0xffff_ffff];
/** Format tags (RFC 2361), and where an extensible format keeps the tag it extends. */
const TAG_EXTENSIBLE = 0xfffe;
const EXTENSIBLE_TAG_AT = 24;
/** By format tag and bits. */
const SAMPLES: Readonly<Record<string, SampleFormatName>> = {
  ...{ '1:8': 'u8', '1:16': 's16', '1:24': 's24', '1:32': 's32', '3:32': 'f32', '3:64': 'f64' },
  ...{ '6:8': 'alaw', '7:8': 'mulaw' },
};

const SNAPSHOT_KIND = 'R';
/** `head`: the file's own; `parts`: before the samples; `samples`: in them. */
const PHASES = ['head', 'parts', 'samples'] as const;

/** What a WAV file holds, in order: samples as `layout` says. `bytes` are a view that lasts until the next step. */
export type DemuxedWav =
  | { readonly type: 'samples'; readonly bytes: Uint8Array }
  | { readonly type: 'refused'; readonly reason: Refusal };

/** Bounded in memory whatever the bytes say. Samples whose number is open, or not true, end where the bytes end. */
export class WavDemuxer {
  readonly #pending = new PendingBytes();
  #phase: (typeof PHASES)[number] = 'head';
  #layout: PcmLayout | undefined;
  /** Of the samples, still to come. */
  #restBytes = 0;

  /** What the samples are, once they begin. */
  get layout(): PcmLayout | undefined {
    return this.#phase === 'samples' ? this.#layout : undefined;
  }

  *push(bytes: Uint8Array): Generator<DemuxedWav> {
    this.#pending.append(bytes);
    for (;;) {
      const step =
        this.#phase === 'head' ? this.#fileHead() : this.#phase === 'parts' ? this.#part() : this.#samples();
      if (step === undefined) return;
      yield* step;
    }
  }

  /** Each step gives what was used up, and `undefined` when more bytes are needed. */
  #fileHead(): readonly DemuxedWav[] | undefined {
    const head = this.#pending.peek(FILE_HEAD_BYTES);
    if (head.length < FILE_HEAD_BYTES) return undefined;
    if (!startsWith(head, 'RIFF') || !startsWith(head.subarray(8), 'WAVE')) return refusal('damaged');
    this.#pending.skip(FILE_HEAD_BYTES);
    this.#phase = 'parts';
    return [];
  }

  #part(): readonly DemuxedWav[] | undefined {
    const head = this.#pending.peek(PART_HEAD_BYTES);
    if (head.length < PART_HEAD_BYTES) return undefined;
    const size = viewOf(head).getUint32(4, true);
    if (startsWith(head, 'data')) {
      if (this.#layout === undefined) return refusal('damaged');
      this.#pending.skip(PART_HEAD_BYTES);
      this.#restBytes = OPEN_SIZES.includes(size) ? Infinity : size;
      this.#phase = 'samples';
      return [];
    }
    // Parts begin at even places.
    const partBytes = PART_HEAD_BYTES + size + (size % 2);
    if (!startsWith(head, 'fmt ') || this.#layout !== undefined) {
      this.#pending.skip(partBytes);
      return [];
    }
    if (size < FORMAT_MIN_BYTES || size > WAV_FORMAT_MAX_BYTES) return refusal('damaged');
    const part = this.#pending.peek(PART_HEAD_BYTES + size);
    if (part.length < PART_HEAD_BYTES + size) return undefined;
    this.#pending.skip(partBytes);
    this.#layout = readLayout(part.subarray(PART_HEAD_BYTES));
    return this.#layout === undefined ? refusal('wav_format') : [];
  }

  #samples(): readonly DemuxedWav[] | undefined {
    const bytes = this.#pending.peek(Math.min(this.#restBytes, this.#pending.length));
    this.#restBytes -= bytes.length;
    this.#pending.skip(bytes.length);
    if (this.#restBytes === 0) this.#pending.skip(this.#pending.length);
    return bytes.length === 0 ? undefined : [{ type: 'samples', bytes }];
  }

  save(): Uint8Array {
    return packSnapshot(SNAPSHOT_KIND, {
      fields: [PHASES.indexOf(this.#phase), this.#restBytes, ...layoutFields(this.#layout)],
      parts: [this.#pending.save()],
    });
  }

  restore(saved: Uint8Array): void {
    const { fields, parts } = unpackSnapshot(SNAPSHOT_KIND, saved);
    const [phase = 0, restBytes = 0, ...layout] = fields;
    this.#pending.restore(parts[0] ?? new Uint8Array(0));
    this.#phase = PHASES[phase] ?? 'head';
    this.#layout = layoutOf(layout);
    this.#restBytes = restBytes;
  }
}

function refusal(reason: Refusal): readonly DemuxedWav[] {
  return [{ type: 'refused', reason }];
}

function readLayout(format: Uint8Array): PcmLayout | undefined {
  const view = viewOf(format);
  const tag = view.getUint16(0, true);
  const isExtended = tag === TAG_EXTENSIBLE && format.length >= EXTENSIBLE_TAG_AT + 2;
  const channels = view.getUint16(2, true);
  const sampleRateHz = view.getUint32(4, true);
  const baseTag = isExtended ? view.getUint16(EXTENSIBLE_TAG_AT, true) : tag;
  const samples = SAMPLES[`${baseTag}:${view.getUint16(14, true)}`];
  const isTaken =
    channels > 0 &&
    channels <= WAV_CHANNELS_MAX_COUNT &&
    sampleRateHz >= PCM_RATE_MIN_HZ &&
    sampleRateHz <= WAV_RATE_MAX_HZ &&
    isConvertibleRate(sampleRateHz);
  return samples === undefined || !isTaken ? undefined : { samples, sampleRateHz, channels };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
