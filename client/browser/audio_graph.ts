/** The microphone's audio as blocks of mono samples, through an AudioWorklet. */
import { CaptureError } from '../capture_error.ts';

/** What the microphone shall do to its audio; each default is the browser's, which is to do it. */
export interface MicrophoneProcessing {
  readonly echoCancellation?: boolean;
  readonly noiseSuppression?: boolean;
  readonly autoGainControl?: boolean;
}

export const BLOCKS_PER_SECOND = 50;

/** Opens a microphone; asks the person if need be. Throws what `getUserMedia` throws, and `CaptureError`. */
export async function openMicrophoneStream(
  deviceId: string | undefined,
  processing: MicrophoneProcessing,
): Promise<MediaStream> {
  // Without a secure context it is missing, whatever TypeScript says.
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  if (devices === undefined) throw new CaptureError(isSecureContext ? 'not_supported' : 'insecure_page');
  return devices.getUserMedia({
    audio: {
      channelCount: 1,
      ...(deviceId === undefined ? {} : { deviceId: { exact: deviceId } }),
      ...processing,
    },
  });
}

/** A running AudioContext behind a microphone. */
export class AudioGraph {
  readonly #context: AudioContext;
  readonly #node: AudioWorkletNode;
  readonly #source: MediaStreamAudioSourceNode;

  private constructor(context: AudioContext, source: MediaStreamAudioSourceNode) {
    this.#context = context;
    this.#source = source;
    this.#node = new AudioWorkletNode(context, 'earwitness-capture', {
      numberOfOutputs: 0,
      processorOptions: { blockSamples: Math.floor(context.sampleRate / BLOCKS_PER_SECOND) },
    });
    source.connect(this.#node);
    // A phone call interrupts the context on some systems; nobody but us would wake it again.
    context.addEventListener('statechange', () => {
      if (context.state === 'suspended') void context.resume();
    });
  }

  /** `sampleRateHz` is a wish: some browsers take a microphone only at its own rate. */
  static async open(stream: MediaStream, sampleRateHz: number): Promise<AudioGraph> {
    const { context, source } = connect(stream, sampleRateHz);
    try {
      // Bundlers find the module by this form.
      await context.audioWorklet.addModule(new URL('./capture_worklet.js', import.meta.url));
      const graph = new AudioGraph(context, source);
      await context.resume();
      return graph;
    } catch (error) {
      void context.close();
      throw error;
    }
  }

  get sampleRateHz(): number {
    return this.#context.sampleRate;
  }

  /** Calls `listener` with each block of 20 ms, which it owns. */
  onBlock(listener: (block: Float32Array<ArrayBuffer>) => void): void {
    this.#node.port.onmessage = ({ data }: MessageEvent<Float32Array<ArrayBuffer>>) => {
      listener(data);
    };
  }

  async close(): Promise<void> {
    this.#node.port.onmessage = null;
    this.#source.disconnect();
    if (this.#context.state !== 'closed') await this.#context.close();
  }
}

function connect(
  stream: MediaStream,
  sampleRateHz: number,
): { context: AudioContext; source: MediaStreamAudioSourceNode } {
  const context = new AudioContext({ sampleRate: sampleRateHz, latencyHint: 'interactive' });
  try {
    return { context, source: context.createMediaStreamSource(stream) };
  } catch {
    void context.close();
    const own = new AudioContext({ latencyHint: 'interactive' });
    return { context: own, source: own.createMediaStreamSource(stream) };
  }
}
