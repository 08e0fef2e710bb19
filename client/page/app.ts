/** The page's one piece of state and what people do with it. */
import type { AudioSource } from '../audio_source.ts';
import { Microphone } from '../browser/microphone.ts';
import { captureErrorOf } from '../capture_error.ts';
import { openAudioFile } from './audio_file.ts';
import { DockView } from './dock_view.ts';
import { byId } from './elements.ts';
import { listenForFiles } from './file_drop.ts';
import { KeyDialog } from './key_dialog.ts';
import { LevelTrace } from './level_trace.ts';
import { Recording } from './recording.ts';
import { SampleSource } from './sample_source.ts';
import { SaveDialog, transcriptText } from './transcript_export.ts';
import { ScreenWake } from './screen_wake.ts';
import { probeServer } from './server_probe.ts';
import { SettingsPanel } from './settings_panel.ts';
import { listenForShortcuts } from './shortcuts.ts';
import { captureTrouble, type Phase, type Trouble } from './status.ts';
import { EMPTY_TRANSCRIPT, heard, type Transcript, type TranscriptEvent } from './transcript.ts';
import { TranscriptView } from './transcript_view.ts';

const CLOCK_INTERVAL_MS = 250;
const COPIED_SHOWN_MS = 1_500;

const UNREADABLE: Trouble = {
  title: 'This file cannot be read',
  advice: 'Use an audio file of at most 100 MB that your browser can play: WAV, MP3, Ogg, WebM or M4A.',
};
const NO_SAMPLE: Trouble = {
  title: 'The sample cannot be loaded',
  advice: 'Check the connection to the server.',
};

/** A source and its name for the person. */
interface Opened {
  readonly source: AudioSource;
  readonly name: string;
}

export class App {
  readonly #dock = new DockView();
  readonly #view = new TranscriptView();
  readonly #trace = new LevelTrace();
  readonly #wake = new ScreenWake();
  readonly #key = new KeyDialog();
  readonly #save = new SaveDialog(() => this.#transcript);
  readonly #settings = new SettingsPanel(() => {
    void this.#changeMicrophone();
  });
  readonly #copy = byId('copy', HTMLButtonElement);
  #transcript: Transcript = EMPTY_TRANSCRIPT;
  #phase: Phase = { type: 'idle' };
  #recording: Recording | undefined;
  #microphone: Microphone | undefined;
  /** Audio of the recording before, where the next one begins. */
  #previousAudioMs = 0;
  #needsKey = false;

  start(): void {
    this.#listenToButtons();
    this.#listenToKeys();
    const clearing = byId('clearing', HTMLDialogElement);
    clearing.addEventListener('close', () => {
      if (clearing.returnValue === 'clear') this.#clear();
    });
    listenForFiles((file) => {
      void this.#begin(async () => ({ source: await openAudioFile(file), name: file.name }), UNREADABLE);
    });
    addEventListener('beforeunload', (event) => {
      if (this.#recording !== undefined) event.preventDefault();
    });
    setInterval(() => {
      this.#showClock();
    }, CLOCK_INTERVAL_MS);
    void probeServer().then(({ needsKey }) => {
      this.#needsKey = needsKey;
    });
  }

  #listenToButtons(): void {
    const click = (id: string, act: () => void): void => {
      byId(id, HTMLButtonElement).addEventListener('click', act);
    };
    click('record', () => {
      this.#toggle();
    });
    click('pause', () => {
      this.#togglePause();
    });
    click('copy', () => {
      void this.#copyText();
    });
    click('save', () => {
      this.#openSaving();
    });
    click('open-settings', () => {
      this.#settings.open();
    });
    click('play-sample', () => {
      void this.#begin(openSample, NO_SAMPLE);
    });
    click('clear', () => {
      const clearing = byId('clearing', HTMLDialogElement);
      clearing.returnValue = '';
      clearing.showModal();
    });
  }

  #listenToKeys(): void {
    listenForShortcuts({
      isEnabled: () => this.#settings.preferences.shortcuts,
      actions: {
        ' ': () => {
          this.#toggle();
        },
        p: () => {
          this.#togglePause();
        },
        j: () => {
          this.#view.jumpToLive();
        },
        c: () => {
          void this.#copyText();
        },
        s: () => {
          this.#openSaving();
        },
      },
    });
  }

  #toggle(): void {
    if (this.#recording !== undefined) this.#recording.stop();
    else void this.#begin(() => this.#openMicrophone());
  }

  #togglePause(): void {
    const microphone = this.#microphone;
    if (microphone === undefined || (this.#phase.type !== 'live' && this.#phase.type !== 'paused')) return;
    if (microphone.isPaused) microphone.resume();
    else microphone.pause();
    this.#recording?.showPaused(microphone.isPaused);
    this.#trace.clear();
  }

  /** Opens a source and records it. Without `trouble`, what goes wrong is told as of a microphone. */
  async #begin(open: () => Promise<Opened>, trouble?: Trouble): Promise<void> {
    if (this.#phase.type !== 'idle') return;
    this.#dock.showTrouble(undefined);
    this.#showPhase({ type: 'opening' });
    if (this.#needsKey && this.#key.key === undefined && (await this.#key.ask()) === undefined) {
      this.#showPhase({ type: 'idle' });
      return;
    }
    try {
      const opened = await open();
      this.#record(opened, () => {
        void this.#begin(open, trouble);
      });
    } catch (error) {
      this.#showPhase({ type: 'idle' });
      this.#dock.showTrouble(trouble ?? captureTrouble(captureErrorOf(error).code));
    }
  }

  #record({ source, name }: Opened, again: () => void): void {
    this.#microphone = source instanceof Microphone ? source : undefined;
    this.#dock.showSource(name);
    this.#apply({ type: 'begin', previousAudioMs: this.#previousAudioMs });
    const recording = new Recording({
      source,
      token: this.#key.key,
      silenceMs: this.#settings.preferences.silenceMs,
      onPhase: (phase) => {
        this.#showPhase(phase);
      },
      onEvent: (event) => {
        this.#apply(event);
      },
      onLag: (lagMs) => {
        this.#dock.showLag(lagMs);
      },
      onEnd: ({ trouble, needsKey }) => {
        this.#previousAudioMs = recording.sentAudioMs;
        this.#recording = undefined;
        this.#microphone = undefined;
        this.#trace.clear();
        this.#showPhase({ type: 'idle' });
        if (needsKey) void this.#askAgain(again);
        else this.#dock.showTrouble(trouble);
      },
    });
    this.#recording = recording;
    recording.start();
  }

  async #askAgain(again: () => void): Promise<void> {
    this.#needsKey = true;
    if ((await this.#key.ask()) !== undefined) again();
  }

  async #openMicrophone(): Promise<Opened> {
    const microphone = await Microphone.open(this.#settings.microphone);
    void this.#settings.refreshDevices();
    microphone.on('level', ({ rms }) => {
      this.#trace.push(rms);
    });
    microphone.on('muted', (isMuted) => {
      this.#dock.showSource(isMuted ? 'Muted by the system' : microphone.label);
    });
    return { source: microphone, name: microphone.label };
  }

  /** Another microphone was chosen while one is in use: the recording goes on with it. */
  async #changeMicrophone(): Promise<void> {
    const recording = this.#recording;
    const before = this.#microphone;
    if (recording === undefined || before === undefined) return;
    try {
      const opened = await this.#openMicrophone();
      if (!(opened.source instanceof Microphone) || !recording.replaceSource(opened.source)) {
        await opened.source.close();
        return;
      }
      if (before.isPaused) opened.source.pause();
      this.#microphone = opened.source;
      this.#dock.showSource(opened.name);
    } catch (error) {
      this.#dock.showTrouble(captureTrouble(captureErrorOf(error).code));
    }
  }

  #apply(event: TranscriptEvent): void {
    this.#transcript = heard(this.#transcript, event);
    this.#showTranscript();
  }

  #showTranscript(): void {
    this.#view.show(this.#transcript);
    const isEmpty = this.#transcript.finals.every(({ text }) => text === '');
    this.#copy.disabled = isEmpty;
    byId('save', HTMLButtonElement).disabled = isEmpty;
  }

  #showPhase(phase: Phase): void {
    this.#phase = phase;
    this.#dock.showPhase(phase, {
      canPause: this.#microphone !== undefined,
      canClear: this.#transcript.lines.length > 0,
    });
    this.#wake.hold(phase.type !== 'idle');
  }

  #showClock(): void {
    if (this.#recording === undefined) return;
    this.#dock.showClock(this.#transcript.originAudioMs + this.#recording.sentAudioMs);
  }

  #clear(): void {
    if (this.#phase.type !== 'idle') return;
    this.#transcript = EMPTY_TRANSCRIPT;
    this.#previousAudioMs = 0;
    this.#showTranscript();
    this.#showPhase(this.#phase);
    this.#dock.showClock(0);
    this.#dock.showSource('');
  }

  #openSaving(): void {
    if (!this.#copy.disabled) this.#save.open();
  }

  async #copyText(): Promise<void> {
    if (this.#copy.disabled) return;
    const label = byId('copy-text', HTMLElement);
    try {
      await navigator.clipboard.writeText(transcriptText(this.#transcript));
      label.textContent = 'Copied';
    } catch {
      // Pages without https have no clipboard: the person copies what is marked.
      this.#view.select();
      label.textContent = 'Marked';
    }
    setTimeout(() => {
      label.textContent = 'Copy';
    }, COPIED_SHOWN_MS);
  }
}

async function openSample(): Promise<Opened> {
  return { source: await SampleSource.open(), name: 'Sample' };
}
