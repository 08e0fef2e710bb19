/** One recording: a source of audio, a client that sends it, and what becomes of them in the page's words. */
import { sendSource, type AudioSource } from '../audio_source.ts';
import { CaptureError } from '../capture_error.ts';
import { StreamClient } from '../stream_client.ts';
import type { ClientState } from '../stream_events.ts';
import { probeServer, streamUrl } from './server_probe.ts';
import { captureTrouble, sessionTrouble, type Phase, type Reach, type Trouble } from './status.ts';
import type { TranscriptEvent } from './transcript.ts';

export interface RecordingOptions {
  readonly source: AudioSource;
  readonly token: string | undefined;
  readonly silenceMs: number;
  readonly onPhase: (phase: Phase) => void;
  readonly onEvent: (event: TranscriptEvent) => void;
  /** How long after its sound a text came, in ms; only of live sources. */
  readonly onLag: (lagMs: number) => void;
  /** The end, once. `needsKey` says that another key may help. */
  readonly onEnd: (end: { readonly trouble?: Trouble; readonly needsKey: boolean }) => void;
}

/** A day of attempts: somebody who sees that the server is away decides for themselves when to stop. */
const RECONNECT = { firstDelayMs: 250, maxDelayMs: 2_000, maxAttempts: 43_200 };

export class Recording {
  readonly #options: RecordingOptions;
  readonly #client: StreamClient;
  #source: AudioSource;
  #sentAudioMs = 0;
  #isPaused = false;
  #isStopping = false;
  #reach: Reach = 'unknown';
  #isProbing = false;
  #captureError: CaptureError | undefined;

  constructor(options: RecordingOptions) {
    this.#options = options;
    this.#source = options.source;
    const { token, silenceMs, source } = options;
    this.#client = new StreamClient({
      url: streamUrl(),
      audio: source.audio,
      words: true,
      endpointing: { silenceMs },
      reconnect: RECONNECT,
      tokenIn: 'start',
      ...(token === undefined ? {} : { token }),
    });
    this.#listen();
  }

  /** Audio given to the server so far. */
  get sentAudioMs(): number {
    return this.#sentAudioMs;
  }

  start(): void {
    // How it ends is told by `state`.
    this.#client.start().catch(() => undefined);
    void this.#send(this.#source);
  }

  /** Goes on with another source of the same kind of audio; false if it is of another kind, or the end is near. */
  replaceSource(source: AudioSource): boolean {
    if (this.#isStopping || JSON.stringify(source.audio) !== JSON.stringify(this.#source.audio)) return false;
    const before = this.#source;
    this.#source = source;
    void before.close();
    void this.#send(source);
    return true;
  }

  showPaused(isPaused: boolean): void {
    this.#isPaused = isPaused;
    this.#showState(this.#client.state);
  }

  /** Ends after the last final; a second call does not wait for it. */
  stop(): void {
    if (this.#isStopping) this.#client.close();
    this.#isStopping = true;
    void this.#source.close();
  }

  async #send(source: AudioSource): Promise<void> {
    try {
      await sendSource(this.#client, source, ({ durationMs }) => {
        this.#sentAudioMs += durationMs;
      });
    } catch (error) {
      // Anything else is the end of the client, which tells it itself.
      if (error instanceof CaptureError) this.#captureError = error;
    }
    if (source !== this.#source) return;
    this.#isStopping = true;
    this.#client.stop().catch(() => undefined);
  }

  #listen(): void {
    const { onEvent, onLag } = this.#options;
    const client = this.#client;
    client.on('state', (state) => {
      this.#showState(state);
    });
    client.on('partial', (partial) => {
      if (this.#source.isLive) onLag(this.#sentAudioMs - partial.endAudioMs);
      onEvent(partial);
    });
    client.on('final', onEvent);
    client.on('audioLost', (lost) => {
      onEvent({ type: 'audioLost', ...lost });
    });
  }

  #showState(state: ClientState): void {
    switch (state.type) {
      case 'idle':
        return;
      case 'connecting':
        this.#options.onPhase({ type: 'connecting' });
        return;
      case 'open':
        this.#reach = 'unknown';
        this.#options.onPhase({ type: this.#isPaused ? 'paused' : 'live' });
        return;
      case 'reconnecting':
        this.#options.onPhase({ type: 'reconnecting', reach: this.#reach });
        void this.#probe();
        return;
      case 'stopping':
        this.#options.onPhase({ type: 'finishing' });
        return;
      case 'closed':
        this.#end(state);
    }
  }

  async #probe(): Promise<void> {
    if (this.#isProbing) return;
    this.#isProbing = true;
    const { reach } = await probeServer();
    this.#isProbing = false;
    if (this.#client.state.type !== 'reconnecting') return;
    this.#reach = reach;
    this.#options.onPhase({ type: 'reconnecting', reach });
  }

  #end({ error }: Extract<ClientState, { type: 'closed' }>): void {
    void this.#source.close();
    const { onEvent, onEnd } = this.#options;
    onEvent({ type: 'end' });
    const trouble =
      this.#captureError !== undefined
        ? captureTrouble(this.#captureError.code)
        : error === undefined
          ? undefined
          : sessionTrouble(error.code, this.#reach);
    onEnd({ needsKey: error?.code === 'unauthorized', ...(trouble === undefined ? {} : { trouble }) });
  }
}
