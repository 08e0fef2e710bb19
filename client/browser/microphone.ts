/** A browser's microphone as a source of audio. */
import type { BareAudio } from '../audio_duration.ts';
import type { AudioPacket, AudioSource } from '../audio_source.ts';
import { CaptureError, captureErrorOf } from '../capture_error.ts';
import { chooseCaptureWay, type CaptureWay } from '../capture_way.ts';
import { PacketQueue } from '../packet_queue.ts';
import { ClientEventSource } from '../stream_events.ts';
import { AudioGraph, openMicrophoneStream, type MicrophoneProcessing } from './audio_graph.ts';
import { captureSupport, CAPTURE_RATE_HZ, createEncoder, type Encoder } from './encoders.ts';

export interface MicrophoneOptions extends MicrophoneProcessing {
  /** Of `listMicrophones`; default is the browser's choice. */
  readonly deviceId?: string;
  /** How to capture; default is the best that the browser can do. */
  readonly way?: CaptureWay;
}

/** Loudness of 20 ms, each from 0 to 1. */
export interface MicrophoneLevel {
  readonly rms: number;
  readonly peak: number;
}

export interface MicrophoneEvents {
  readonly level: MicrophoneLevel;
  /** Whether the system or a key on the microphone has muted it. */
  readonly muted: boolean;
}

/** Captures from `open` until `close`. `packets` throws a `CaptureError` if the microphone goes away. */
export class Microphone implements AudioSource {
  readonly isLive = true;
  readonly way: CaptureWay;
  /** As the person knows it; empty if the browser does not tell. */
  readonly label: string;
  readonly #stream: MediaStream;
  readonly #graph: AudioGraph;
  readonly #encoder: Encoder;
  readonly #queue: PacketQueue;
  readonly #events = new ClientEventSource<MicrophoneEvents>();
  #isPaused = false;
  #closed: Promise<void> | undefined;

  private constructor(stream: MediaStream, graph: AudioGraph, way: CaptureWay) {
    this.#stream = stream;
    this.#graph = graph;
    this.way = way;
    this.#queue = new PacketQueue();
    this.#encoder = createEncoder(way, { stream, sampleRateHz: graph.sampleRateHz, sink: this.#queue });
    const [track] = stream.getAudioTracks();
    this.label = track?.label ?? '';
    track?.addEventListener('ended', () => {
      this.#queue.fail(new CaptureError('microphone_lost'));
      void this.close();
    });
    for (const type of ['mute', 'unmute'] as const) {
      track?.addEventListener(type, () => {
        this.#events.emit('muted', type === 'mute');
      });
    }
    graph.onBlock((block) => {
      this.#onBlock(block);
    });
  }

  /** Opens it; the browser may ask the person first. Call it from a click or a key. Rejects with a `CaptureError`. */
  static async open(options: MicrophoneOptions = {}): Promise<Microphone> {
    const { deviceId, way: wanted, ...processing } = options;
    let stream: MediaStream | undefined;
    let graph: AudioGraph | undefined;
    try {
      stream = await openMicrophoneStream(deviceId, processing);
      const way = chooseCaptureWay(await captureSupport(), wanted);
      if (way === undefined) throw new CaptureError('not_supported');
      graph = await AudioGraph.open(stream, CAPTURE_RATE_HZ[way]);
      return new Microphone(stream, graph, way);
    } catch (cause) {
      stopTracks(stream);
      await graph?.close();
      throw captureErrorOf(cause);
    }
  }

  get audio(): BareAudio {
    return this.#encoder.audio;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Calls `listener` for each event of this name; returns the function that ends that. */
  on<Name extends keyof MicrophoneEvents>(
    name: Name,
    listener: (event: MicrophoneEvents[Name]) => void,
  ): () => void {
    return this.#events.on(name, listener);
  }

  packets(): AsyncIterable<AudioPacket> {
    return this.#queue.read();
  }

  /** Nothing is captured until `resume`; the microphone stays open. */
  pause(): void {
    this.#isPaused = true;
    this.#encoder.pause?.();
  }

  resume(): void {
    this.#isPaused = false;
    this.#encoder.resume?.();
  }

  /** Lets the microphone go; what was captured still comes. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    try {
      await this.#encoder.close();
    } catch (cause) {
      this.#queue.fail(captureErrorOf(cause));
    } finally {
      this.#queue.end();
      stopTracks(this.#stream);
      await this.#graph.close();
    }
  }

  #onBlock(block: Float32Array<ArrayBuffer>): void {
    if (this.#isPaused) return;
    this.#events.emit('level', levelOf(block));
    this.#encoder.push?.(block);
  }
}

/** The microphones there are, without names until the person has once allowed the use of one. */
export async function listMicrophones(): Promise<readonly MediaDeviceInfo[]> {
  const mediaDevices = navigator.mediaDevices as MediaDevices | undefined;
  const devices = (await mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter(({ kind, deviceId }) => kind === 'audioinput' && deviceId !== '');
}

/** Calls `onChange` when a microphone comes or goes; returns the function that ends that. */
export function watchMicrophones(onChange: () => void): () => void {
  const mediaDevices = navigator.mediaDevices as MediaDevices | undefined;
  mediaDevices?.addEventListener('devicechange', onChange);
  return () => {
    mediaDevices?.removeEventListener('devicechange', onChange);
  };
}

function levelOf(block: Float32Array): MicrophoneLevel {
  let sum = 0;
  let peak = 0;
  for (const sample of block) {
    sum += sample * sample;
    peak = Math.max(peak, Math.abs(sample));
  }
  return { rms: Math.min(1, Math.sqrt(sum / block.length)), peak: Math.min(1, peak) };
}

function stopTracks(stream: MediaStream | undefined): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
