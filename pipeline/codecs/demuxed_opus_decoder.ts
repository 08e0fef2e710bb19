/** One session's Opus in a container: what the demuxer finds goes through the same decoder as bare packets. */
import { joinPcm, msToSamples } from '../audio.ts';
import type { AudioDecoder, DecodedAudio } from '../contracts.ts';
import { AHEAD_OF_REALTIME_CLOSE_MS } from '../limits.ts';
import type { Demuxed, OpusDemuxer } from './opus_head.ts';
import { refusalCode, refusalOf, refused, type Refusal } from '../refusal.ts';
import { packSnapshot, unpackSnapshot } from '../snapshot.ts';

const SNAPSHOT_KIND = 'D';
/** Pre-skip is counted at 48 kHz. */
const PRE_SKIP_RATIO = 3;
/** Packets of silence are tiny: without a bound one message could hold hours, all decoded at once. */
const MESSAGE_MAX_SAMPLES = msToSamples(AHEAD_OF_REALTIME_CLOSE_MS);

/** What it is made of; it owns `opus` and closes it. */
export interface DemuxedOpusParts {
  readonly demuxer: OpusDemuxer;
  readonly opus: AudioDecoder;
}

/** What one message holds. */
interface Heard {
  readonly parts: Int16Array[];
  readonly concealed: boolean[];
  samples: number;
}

/** Any cut of the same bytes gives the same samples. The pre-skip of every stream is left out of them. */
export class DemuxedOpusDecoder implements AudioDecoder {
  readonly #demuxer: OpusDemuxer;
  readonly #opus: AudioDecoder;
  /** Of the pre-skip, still to be left out. */
  #skipSamples = 0;
  #refusal: Refusal | undefined;

  constructor({ demuxer, opus }: DemuxedOpusParts) {
    this.#demuxer = demuxer;
    this.#opus = opus;
  }

  decode(message: Uint8Array): DecodedAudio {
    const heard: Heard = { parts: [], concealed: [], samples: 0 };
    const items = this.#refusal === undefined ? this.#demuxer.push(message) : [];
    for (const item of items) {
      this.#refusal = this.#take(item, heard);
      if (this.#refusal !== undefined) break;
    }
    const pcm = joinPcm(heard.parts);
    const { concealed } = heard;
    if (this.#refusal !== undefined) return { ...refused(this.#refusal, pcm), concealed };
    return concealed.includes(true) ? { pcm, concealed, fault: 'undecodable_packet' } : { pcm, concealed };
  }

  /** Adds what an item holds; returns why nothing may follow it, if so. */
  #take(item: Demuxed, heard: Heard): Refusal | undefined {
    switch (item.type) {
      case 'refused':
        return item.reason;
      case 'head':
        this.#skipSamples = Math.round(item.preSkipSamples / PRE_SKIP_RATIO);
        return undefined;
      case 'packet': {
        const { pcm, fault, reason } = this.#opus.decode(item.bytes);
        if (reason !== undefined) return reason;
        heard.concealed.push(fault !== undefined);
        heard.samples += pcm.length;
        if (heard.samples > MESSAGE_MAX_SAMPLES) return 'too_fast';
        heard.parts.push(this.#withoutPreSkip(pcm));
        return undefined;
      }
    }
  }

  #withoutPreSkip(pcm: Int16Array): Int16Array {
    const skipped = Math.min(this.#skipSamples, pcm.length);
    this.#skipSamples -= skipped;
    return skipped === 0 ? pcm : pcm.subarray(skipped);
  }

  snapshot(): Uint8Array {
    return packSnapshot(SNAPSHOT_KIND, {
      fields: [this.#skipSamples, refusalCode(this.#refusal)],
      parts: [this.#demuxer.save(), this.#opus.snapshot()],
    });
  }

  /** Throws `AssertionError` for anything but a snapshot of the same container, version and build of the codec. */
  restore(snapshot: Uint8Array): void {
    const { fields, parts } = unpackSnapshot(SNAPSHOT_KIND, snapshot);
    const [skipSamples = 0, refusal] = fields;
    const [demuxer = new Uint8Array(0), opus = new Uint8Array(0)] = parts;
    this.#demuxer.restore(demuxer);
    this.#opus.restore(opus);
    this.#skipSamples = skipSamples;
    this.#refusal = refusalOf(refusal);
  }

  close(): void {
    this.#opus.close();
  }
}
