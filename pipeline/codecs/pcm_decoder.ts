/** One session's bare samples. */
import { findContainer } from './container_magic.ts';
import type { AudioDecoder, DecodedAudio } from '../contracts.ts';
import { PcmConverter, type PcmLayout } from './pcm_converter.ts';
import { refusalCode, refusalOf, refused, type Refusal } from '../refusal.ts';
import type { FilterCache } from './resampler.ts';
import { packSnapshot, unpackSnapshot } from '../snapshot.ts';

const SNAPSHOT_KIND = 'P';

/** What a PCM decoder is made of: integer `sampleRateHz` of 8,000–48,000, `channels` 1 or 2 (interleaved). */
export interface PcmDecoderParts {
  readonly layout: PcmLayout;
  readonly filters: FilterCache;
  /** Called once, when the decoder has been closed. */
  readonly onClosed: () => void;
}

/**
 * Decodes samples. Messages may end inside a sample or between two channels: the rest is carried, and any cut of the
 * same bytes gives the same samples. Stereo becomes the mean of its channels; what is no sample becomes silence, and
 * its message a fault. A session that begins with a compressed container is refused for good; a WAV header passes, as
 * 3 ms of noise at most, because what follows it is PCM.
 */
export class PcmDecoder implements AudioDecoder {
  readonly #converter: PcmConverter;
  readonly #onClosed: () => void;
  #hasStarted = false;
  #refusal: Refusal | undefined;
  #isClosed = false;

  constructor({ layout, filters, onClosed }: PcmDecoderParts) {
    this.#converter = new PcmConverter(layout, filters);
    this.#onClosed = onClosed;
  }

  decode(message: Uint8Array): DecodedAudio {
    if (message.length === 0) return { pcm: new Int16Array(0) };
    if (!this.#hasStarted) {
      const container = findContainer(message);
      if (container !== 'wav') this.#refusal = container;
      this.#hasStarted = true;
    }
    if (this.#refusal !== undefined) return refused(this.#refusal);
    const { pcm, isDamaged } = this.#converter.push(message);
    return isDamaged ? { pcm, fault: 'undecodable_packet' } : { pcm };
  }

  snapshot(): Uint8Array {
    return packSnapshot(SNAPSHOT_KIND, {
      fields: [this.#hasStarted ? 1 : 0, refusalCode(this.#refusal)],
      parts: [this.#converter.save()],
    });
  }

  /** Throws `AssertionError` for anything but a snapshot by the same version for the same layout. */
  restore(snapshot: Uint8Array): void {
    const { fields, parts } = unpackSnapshot(SNAPSHOT_KIND, snapshot);
    this.#converter.restore(parts[0] ?? new Uint8Array(0));
    this.#hasStarted = fields[0] === 1;
    this.#refusal = refusalOf(fields[1]);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClosed();
  }
}
