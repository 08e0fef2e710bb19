/** What makes packets of a microphone's audio, one class for each way to capture. */
import { audioDurationMs, type BareAudio } from '../audio_duration.ts';
import type { AudioPacket } from '../audio_source.ts';
import { CaptureError } from '../capture_error.ts';
import type { CaptureSupport, CaptureWay } from '../capture_way.ts';
import { WebmPackets } from '../webm_packets.ts';
import { BLOCKS_PER_SECOND } from './audio_graph.ts';

/** Where the packets go, and what ended them too early. */
export interface PacketSink {
  push(packet: AudioPacket): void;
  fail(error: Error): void;
}

export interface Encoder {
  readonly audio: BareAudio;
  /** The next block of 20 ms, which the encoder owns; missing where the encoder hears the microphone by itself. */
  push?(block: Float32Array<ArrayBuffer>): void;
  /** Missing where no blocks are no packets. */
  pause?(): void;
  resume?(): void;
  /** Pushes what it still has. Idempotent. */
  close(): Promise<void>;
}

/** What an encoder is made from. */
export interface EncoderInput {
  readonly stream: MediaStream;
  /** Of the blocks. */
  readonly sampleRateHz: number;
  readonly sink: PacketSink;
}

/** Opus is made of 48 kHz; PCM goes out at the rate the server works at. */
export const CAPTURE_RATE_HZ: Readonly<Record<CaptureWay, number>> = {
  packets: 48_000,
  recorder: 48_000,
  pcm: 16_000,
};
/** Twice what RFC 6716 section 2.1.1 names for wideband speech. */
const OPUS_BITS_PER_SECOND = 32_000;
const PCM_RATE_MAX_HZ = 48_000;
const RECORDER_TYPE = 'audio/webm;codecs=opus';
/** How often a recorder hands out what it has; its own packets are 60 ms long. */
const RECORDER_INTERVAL_MS = 60;
const BLOCK_US = 1_000_000 / BLOCKS_PER_SECOND;

/** What this browser can do. */
export async function captureSupport(): Promise<CaptureSupport> {
  return {
    packets: await canEncodeOpus(),
    recorder: 'MediaRecorder' in globalThis && MediaRecorder.isTypeSupported(RECORDER_TYPE),
    pcm: 'AudioWorkletNode' in globalThis,
  };
}

export function createEncoder(way: CaptureWay, input: EncoderInput): Encoder {
  switch (way) {
    case 'packets':
      return new OpusEncoder(input);
    case 'recorder':
      return new RecorderEncoder(input);
    case 'pcm':
      return new PcmEncoder(input);
  }
}

async function canEncodeOpus(): Promise<boolean> {
  if (!('AudioEncoder' in globalThis)) return false;
  try {
    return (await AudioEncoder.isConfigSupported(opusConfig(CAPTURE_RATE_HZ.packets))).supported === true;
  } catch {
    return false;
  }
}

function opusConfig(sampleRate: number): AudioEncoderConfig {
  return {
    codec: 'opus',
    sampleRate,
    numberOfChannels: 1,
    bitrate: OPUS_BITS_PER_SECOND,
    opus: { frameDuration: BLOCK_US },
  };
}

const OPUS_AUDIO = { encoding: 'opus' } as const;

class OpusEncoder implements Encoder {
  readonly audio = OPUS_AUDIO;
  readonly #encoder: AudioEncoder;
  readonly #sampleRateHz: number;
  #blockCount = 0;

  constructor({ sampleRateHz, sink }: EncoderInput) {
    this.#sampleRateHz = sampleRateHz;
    this.#encoder = new AudioEncoder({
      output: (chunk) => {
        const bytes = new Uint8Array(chunk.byteLength);
        chunk.copyTo(bytes);
        sink.push(opusPacket(bytes));
      },
      error: (cause) => {
        sink.fail(new CaptureError('capture_failed', { cause }));
      },
    });
    this.#encoder.configure(opusConfig(sampleRateHz));
  }

  push(block: Float32Array<ArrayBuffer>): void {
    if (this.#encoder.state !== 'configured') return;
    const audio = new AudioData({
      format: 'f32-planar',
      sampleRate: this.#sampleRateHz,
      numberOfFrames: block.length,
      numberOfChannels: 1,
      timestamp: this.#blockCount++ * BLOCK_US,
      data: block,
    });
    this.#encoder.encode(audio);
    audio.close();
  }

  async close(): Promise<void> {
    if (this.#encoder.state !== 'configured') return;
    await this.#encoder.flush();
    this.#encoder.close();
  }
}

class PcmEncoder implements Encoder {
  readonly audio: BareAudio;
  readonly #sink: PacketSink;

  constructor({ sampleRateHz, sink }: EncoderInput) {
    if (sampleRateHz > PCM_RATE_MAX_HZ) throw new CaptureError('not_supported');
    this.audio = { encoding: 'pcm_s16le', sampleRateHz, channels: 1 };
    this.#sink = sink;
  }

  push(block: Float32Array<ArrayBuffer>): void {
    const bytes = new DataView(new ArrayBuffer(2 * block.length));
    for (const [i, sample] of block.entries()) {
      bytes.setInt16(2 * i, Math.max(-32_768, Math.min(32_767, Math.round(sample * 32_768))), true);
    }
    this.#sink.push({ bytes: new Uint8Array(bytes.buffer), durationMs: 1_000 / BLOCKS_PER_SECOND });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

class RecorderEncoder implements Encoder {
  readonly audio = OPUS_AUDIO;
  readonly #recorder: MediaRecorder;
  /** Blobs are read one after the other, whatever each takes. */
  #read: Promise<void> = Promise.resolve();

  constructor({ stream, sink }: EncoderInput) {
    const webm = new WebmPackets();
    this.#recorder = new MediaRecorder(stream, {
      mimeType: RECORDER_TYPE,
      audioBitsPerSecond: OPUS_BITS_PER_SECOND,
    });
    this.#recorder.ondataavailable = ({ data }) => {
      this.#read = this.#read
        .then(() => data.arrayBuffer())
        .then((buffer) => {
          for (const bytes of webm.push(new Uint8Array(buffer))) sink.push(opusPacket(bytes));
        })
        .catch((cause: unknown) => {
          sink.fail(new CaptureError('capture_failed', { cause }));
        });
    };
    this.#recorder.onerror = (cause) => {
      sink.fail(new CaptureError('capture_failed', { cause }));
    };
    this.#recorder.start(RECORDER_INTERVAL_MS);
  }

  pause(): void {
    if (this.#recorder.state === 'recording') this.#recorder.pause();
  }

  resume(): void {
    if (this.#recorder.state === 'paused') this.#recorder.resume();
  }

  async close(): Promise<void> {
    if (this.#recorder.state !== 'inactive') {
      const stopped = new Promise((resolve) => {
        this.#recorder.onstop = resolve;
      });
      this.#recorder.stop();
      await stopped;
    }
    await this.#read;
  }
}

function opusPacket(bytes: Uint8Array): AudioPacket {
  return { bytes, durationMs: audioDurationMs(OPUS_AUDIO, bytes) };
}
