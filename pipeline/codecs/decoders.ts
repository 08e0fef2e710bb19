/** Makes the decoders of an audio worker's sessions. */
import { AUDIO_ENCODINGS, type AudioEncoding, type AudioFormat } from '../audio.ts';
import { ContainerDecoder, type TakenContainer } from './container_decoder.ts';
import type { AudioDecoder, AudioDecoderFactory } from '../contracts.ts';
import { LimitError, ProtocolError } from '../errors.ts';
import { PCM_RATE_MAX_HZ, PCM_RATE_MIN_HZ, SESSIONS_PER_AUDIO_WORKER_COUNT } from '../limits.ts';
import { DemuxedOpusDecoder } from './demuxed_opus_decoder.ts';
import { OggDemuxer } from './ogg_demuxer.ts';
import { OpusDecoder } from './opus_decoder.ts';
import { OpusModule, type OpusBuild } from './opus_module.ts';
import { OpusShard, type ShardDecoder } from './opus_shard.ts';
import { PcmDecoder } from './pcm_decoder.ts';
import type { SampleFormatName } from './pcm_samples.ts';
import { FilterCache } from './resampler.ts';
import { WavDecoder } from './wav_decoder.ts';
import { WebmDemuxer } from './webm_demuxer.ts';

/** How the factory is set up; everything has a default. */
export interface DecoderFactoryOptions {
  /** Which build of libopus; by default SIMD where the processor has it. */
  readonly opusBuild?: OpusBuild;
  /** Called after the codec trapped and its shard was rebuilt, with what was thrown. */
  readonly onOpusRebuilt?: (cause: unknown) => void;
}

/** Encodings that are samples and nothing else, and how they are written. */
const BARE_SAMPLES: Readonly<Partial<Record<AudioEncoding, SampleFormatName>>> = {
  pcm_s16le: 's16',
  pcm_f32le: 'f32_unit',
  mulaw: 'mulaw',
  alaw: 'alaw',
};
/** Encodings that are containers; `auto` is any of them. */
const CONTAINERS: Readonly<Partial<Record<AudioEncoding, TakenContainer>>> = {
  ogg_opus: 'ogg',
  webm_opus: 'webm',
  wav: 'wav',
};

function assertFormat(format: AudioFormat): void {
  const { encoding, sampleRateHz, channels } = format;
  if (!AUDIO_ENCODINGS.includes(encoding)) {
    throw new ProtocolError('bad_settings', `encoding must be one of ${AUDIO_ENCODINGS.join(', ')}.`);
  }
  if (!(encoding in BARE_SAMPLES)) return;
  if (!Number.isInteger(sampleRateHz) || sampleRateHz < PCM_RATE_MIN_HZ || sampleRateHz > PCM_RATE_MAX_HZ) {
    throw new ProtocolError(
      'bad_settings',
      `sampleRateHz must be an integer from ${PCM_RATE_MIN_HZ} to ${PCM_RATE_MAX_HZ}.`,
    );
  }
  if (channels !== 1 && channels !== 2) throw new ProtocolError('bad_settings', 'channels must be 1 or 2.');
}

class DecoderFactory implements AudioDecoderFactory {
  readonly #module: OpusModule;
  readonly #options: DecoderFactoryOptions;
  readonly #filters = new FilterCache();
  /** Never given back: an instance costs 1 ms to make, and what is empty is filled first. */
  readonly #shards: OpusShard[] = [];
  #liveCount = 0;

  constructor(module: OpusModule, options: DecoderFactoryOptions) {
    this.#module = module;
    this.#options = options;
    this.#shards.push(this.#createShard());
  }

  create(format: AudioFormat): AudioDecoder {
    assertFormat(format);
    if (this.#liveCount >= SESSIONS_PER_AUDIO_WORKER_COUNT) {
      throw new LimitError(
        'overloaded',
        `An audio worker holds at most ${SESSIONS_PER_AUDIO_WORKER_COUNT} decoders; try again later.`,
        { retryable: true },
      );
    }
    const decoder = this.#createDecoder(format);
    this.#liveCount += 1;
    return decoder;
  }

  #createDecoder(format: AudioFormat): AudioDecoder {
    const onClosed = (): void => {
      this.#liveCount -= 1;
    };
    const { encoding, sampleRateHz, channels } = format;
    const samples = BARE_SAMPLES[encoding];
    if (samples !== undefined) {
      const layout = { samples, sampleRateHz, channels };
      return new PcmDecoder({ layout, filters: this.#filters, onClosed });
    }
    if (encoding === 'opus') return this.#createOpus(onClosed);
    const named = CONTAINERS[encoding];
    return new ContainerDecoder({
      ...(named === undefined ? {} : { named }),
      create: (container) => this.#createContained(container),
      onClosed,
    });
  }

  #createContained(container: TakenContainer): AudioDecoder {
    if (container === 'wav') return new WavDecoder(this.#filters);
    const demuxer = container === 'ogg' ? new OggDemuxer() : new WebmDemuxer();
    return new DemuxedOpusDecoder({ demuxer, opus: this.#createOpus(() => undefined) });
  }

  #createOpus(onClosed: () => void): OpusDecoder {
    return new OpusDecoder({ decoder: this.#createShardDecoder(), build: this.#module.build, onClosed });
  }

  #createShardDecoder(): ShardDecoder {
    let shard = this.#shards.find(({ isFull }) => !isFull);
    if (shard === undefined) {
      shard = this.#createShard();
      this.#shards.push(shard);
    }
    return shard.create();
  }

  #createShard(): OpusShard {
    const { onOpusRebuilt } = this.#options;
    return new OpusShard({
      module: this.#module,
      ...(onOpusRebuilt === undefined ? {} : { onRebuilt: onOpusRebuilt }),
    });
  }
}

/**
 * Loads and checks the Opus codec (about 20 ms) and returns the factory of an audio worker. The codec has been compiled,
 * run and compared with known output when the promise settles; no decoder has anything left to load.
 * Rejects with `ConfigError` (`bad_config`) if the codec's file is not the expected one. `create` throws `LimitError`
 * (`overloaded`) at the cap on live decoders and `ProtocolError` (`bad_settings`) for a format out of range.
 */
export async function loadDecoderFactory(options: DecoderFactoryOptions = {}): Promise<AudioDecoderFactory> {
  return new DecoderFactory(await OpusModule.load(options.opusBuild), options);
}
