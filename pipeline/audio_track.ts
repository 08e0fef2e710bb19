/**
 * One session's audio path inside an audio worker: messages → PCM → frames → voice activity → utterances.
 * Deterministic: its state can be taken at any message boundary and continued in another process, output for output.
 */
import { FRAME_SAMPLES, msToSamples } from './audio.ts';
import { AudioSpan } from './audio_span.ts';
import type { TrackSettings, TrackSnapshot } from './audio_messages.ts';
import type {
  AudioDecoder,
  AudioDecoderFactory,
  Segmenter,
  SegmenterEvent,
  SegmenterFactory,
  TrackEvent,
  TrackInput,
  VoiceDetector,
  VoiceState,
} from './contracts.ts';
import {
  CHECKPOINT_INTERVAL_COUNT,
  CHECKPOINT_INTERVAL_MS,
  FAULT_WINDOW_COUNT,
  FAULT_WINDOW_MAX_COUNT,
} from './limits.ts';

/** The concrete parts of a track. */
export interface TrackParts {
  readonly decoders: AudioDecoderFactory;
  readonly detector: VoiceDetector;
  readonly segmenters: SegmenterFactory;
}

export type PacketOutcome = 'decoded' | 'concealed' | 'ignored';

export interface TrackOutput {
  emit(event: TrackEvent, seq: number): void;
  /** One message, with so many packets of each outcome, was decoded to `samples` samples. */
  decoded(packets: Readonly<Record<PacketOutcome, number>>, samples: number): void;
}

interface QueuedInput {
  readonly seq: number;
  readonly input: TrackInput;
}

/** A session's audio path where it runs. `state`: where another process was with it. */
export class RunningTrack {
  readonly voice: VoiceState;
  readonly #output: TrackOutput;
  readonly #decoder: AudioDecoder;
  readonly #segmenter: Segmenter;
  readonly #lookbackSamples: number;
  #inputs: QueuedInput[] = [];
  /** Ends where the decoded audio ends. */
  readonly #recent: AudioSpan;
  #judgedSamples: number;
  #sentSamples: number;
  #outputSeq = 0;
  #faults: boolean[] = [];
  #inBurst = false;
  #inputSeq = 0;
  #checkpointSamples: number;
  /** Inputs taken in since the last checkpoint. */
  #takenCount = 0;

  constructor(
    settings: TrackSettings,
    parts: TrackParts,
    options: { output: TrackOutput; state?: TrackSnapshot },
  ) {
    const { output, state } = options;
    const { segmenters } = parts;
    this.#output = output;
    this.#lookbackSamples = segmenters.lookbackSamples;
    this.#decoder = parts.decoders.create(settings.format);
    const origin = settings.originSamples;
    if (state === undefined) {
      this.#recent = new AudioSpan(origin);
      this.#judgedSamples = this.#sentSamples = this.#checkpointSamples = origin;
      this.voice = parts.detector.createState();
      this.#segmenter = segmenters.create(settings.endpointing, origin);
      return;
    }
    this.#decoder.restore(state.decoder);
    this.voice = state.voice.slice();
    this.#segmenter = segmenters.restore(settings.endpointing, state.segmenter);
    const recentStart = state.decodedSamples - state.recent.length;
    this.#recent = new AudioSpan(recentStart);
    this.#recent.append(recentStart, state.recent);
    this.#checkpointSamples = state.decodedSamples;
    this.#judgedSamples = state.judgedSamples;
    this.#sentSamples = state.sentSamples;
    this.#outputSeq = state.outputSeq;
    this.#faults = [...state.faults];
    this.#inBurst = state.inBurst;
  }

  /** Number of the last input that was taken in whole. */
  get inputSeq(): number {
    return this.#inputSeq;
  }

  enqueue(seq: number, input: TrackInput): void {
    this.#inputs.push({ seq, input });
  }

  /** The next whole frame, decoding as many messages as it takes; undefined when the inputs are used up. */
  nextFrame(): Int16Array | undefined {
    let taken = 0;
    while (this.#unjudgedSamples < FRAME_SAMPLES && taken < this.#inputs.length) {
      const next = this.#inputs[taken++];
      if (next !== undefined) this.#take(next);
    }
    if (taken > 0) this.#inputs = this.#inputs.slice(taken);
    if (this.#unjudgedSamples < FRAME_SAMPLES) return undefined;
    return this.#recent.slice(this.#judgedSamples, this.#judgedSamples + FRAME_SAMPLES);
  }

  /** What voice activity said of the frame last returned by `nextFrame`. */
  judge(frame: Int16Array, probability: number): void {
    this.#judgedSamples += FRAME_SAMPLES;
    const events = this.#segmenter.push({ probability, energy: meanSquare(frame) });
    this.#forward(events);
    if (this.#segmenter.inSpeech) this.#sendUpTo(this.#judgedSamples);
    this.#recent.dropBefore(this.#judgedSamples - this.#lookbackSamples);
  }

  /** The state and the input it includes, if enough has passed since the last time; call it between frames. */
  checkpoint(): { readonly inputSeq: number; readonly state: TrackSnapshot } | undefined {
    const decodedSamples = this.#recent.endSamples;
    const isDue =
      decodedSamples - this.#checkpointSamples >= msToSamples(CHECKPOINT_INTERVAL_MS) ||
      this.#takenCount >= CHECKPOINT_INTERVAL_COUNT;
    if (!isDue) return undefined;
    this.#checkpointSamples = decodedSamples;
    this.#takenCount = 0;
    const state: TrackSnapshot = {
      decoder: this.#decoder.snapshot(),
      voice: this.voice.slice(),
      segmenter: this.#segmenter.snapshot(),
      recent: this.#recent.slice(this.#recent.startSamples, decodedSamples),
      decodedSamples,
      judgedSamples: this.#judgedSamples,
      sentSamples: this.#sentSamples,
      outputSeq: this.#outputSeq,
      faults: [...this.#faults],
      inBurst: this.#inBurst,
    };
    return { inputSeq: this.#inputSeq, state };
  }

  close(): void {
    this.#inputs = [];
    this.#decoder.close();
  }

  #take({ seq, input }: QueuedInput): void {
    this.#inputSeq = seq;
    this.#takenCount++;
    switch (input.type) {
      case 'audio':
        this.#decode(input.bytes);
        return;
      case 'flush':
        this.#end('flush');
        this.#emit({ type: 'flushed', id: input.id, atSamples: this.#recent.endSamples });
        return;
      case 'audioStopped':
        this.#end('audioStopped');
    }
  }

  #decode(bytes: Uint8Array): void {
    const { pcm, fault, reason, ...decoded } = this.#decoder.decode(bytes);
    const packets = decoded.concealed ?? (bytes.length === 0 ? [] : [fault !== undefined]);
    const concealed = packets.reduce((sum, isConcealed) => sum + Number(isConcealed), 0);
    const counts = { concealed, decoded: packets.length - concealed, ignored: Number(bytes.length === 0) };
    this.#output.decoded(counts, pcm.length);
    this.#recent.append(this.#recent.endSamples, pcm);
    const isRefused =
      fault === 'unsupported_audio' ||
      packets.some((isConcealed) => this.#noteFault(isConcealed) > FAULT_WINDOW_MAX_COUNT);
    if (isRefused)
      this.#emit({ type: 'fault', code: 'unsupported_audio', count: 1, reason: reason ?? 'mismatch' });
  }

  /** One event per burst of undecodable packets. Returns how many there were of late: too many end the session. */
  #noteFault(isFault: boolean): number {
    this.#faults.push(isFault);
    if (this.#faults.length > FAULT_WINDOW_COUNT) this.#faults.shift();
    const faultCount = this.#faults.reduce((sum, each) => sum + Number(each), 0);
    if (isFault && !this.#inBurst && faultCount <= FAULT_WINDOW_MAX_COUNT) {
      this.#inBurst = true;
      this.#emit({ type: 'fault', code: 'undecodable_packet', count: 1 });
    }
    if (faultCount === 0) this.#inBurst = false;
    return faultCount;
  }

  /** Ends an utterance in progress at the end of the audio, the samples that do not fill a frame included. */
  #end(reason: 'flush' | 'audioStopped'): void {
    this.#forward(this.#segmenter.end(reason, this.#recent.endSamples));
  }

  #forward(events: readonly SegmenterEvent[]): void {
    for (const event of events) {
      if (event.type === 'speechStart') {
        this.#emit(event);
        this.#sentSamples = Math.max(this.#sentSamples, event.startSamples);
      } else {
        this.#sendUpTo(event.endSamples);
        this.#emit(event);
      }
    }
  }

  #sendUpTo(endSamples: number): void {
    if (endSamples <= this.#sentSamples) return;
    const startSamples = this.#sentSamples;
    this.#sentSamples = endSamples;
    const pcm = this.#recent.slice(startSamples, endSamples);
    const { likelyEndSamples } = this.#segmenter;
    this.#emit({
      type: 'pcm',
      startSamples,
      pcm,
      ...(likelyEndSamples !== undefined && { likelyEndSamples }),
    });
  }

  #emit(event: TrackEvent): void {
    this.#output.emit(event, ++this.#outputSeq);
  }

  get #unjudgedSamples(): number {
    return this.#recent.endSamples - this.#judgedSamples;
  }
}

function meanSquare(frame: Int16Array): number {
  let sum = 0;
  for (const sample of frame) sum += sample * sample;
  return sum / (frame.length * 32_768 * 32_768);
}
