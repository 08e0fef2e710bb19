/** Shows the state of the recording: status, buttons, clock, and what went wrong. */
import { byId } from './elements.ts';
import { statusOf, type Phase, type Trouble } from './status.ts';
import { clockText } from './transcript.ts';

const RECORD_TEXTS: Readonly<Record<Phase['type'], string>> = {
  idle: 'Start',
  opening: 'Opening',
  connecting: 'Stop',
  live: 'Stop',
  paused: 'Stop',
  reconnecting: 'Stop',
  finishing: 'Stop without waiting',
};

export class DockView {
  readonly #dock = byId('dock', HTMLElement);
  readonly #status = byId('status', HTMLElement);
  readonly #statusText = byId('status-text', HTMLElement);
  readonly #detail = byId('detail', HTMLElement);
  readonly #lag = byId('lag', HTMLElement);
  readonly #record = byId('record', HTMLButtonElement);
  readonly #recordText = byId('record-text', HTMLElement);
  readonly #pause = byId('pause', HTMLButtonElement);
  readonly #clear = byId('clear', HTMLButtonElement);
  readonly #pauseText = byId('pause-text', HTMLElement);
  readonly #clock = byId('clock', HTMLElement);
  readonly #source = byId('source', HTMLElement);
  readonly #trouble = byId('trouble', HTMLElement);

  constructor() {
    byId('dismiss', HTMLButtonElement).addEventListener('click', () => {
      this.showTrouble(undefined);
      this.#record.focus();
    });
  }

  /** `canPause` is true of a microphone, `canClear` where there is a transcript. */
  showPhase(phase: Phase, { canPause, canClear }: { canPause: boolean; canClear: boolean }): void {
    const { tone, text, detail } = statusOf(phase);
    this.#dock.dataset['phase'] = phase.type;
    this.#status.dataset['tone'] = tone;
    // Unchanged text is not said again.
    if (this.#statusText.textContent !== text) this.#statusText.textContent = text;
    if (this.#detail.textContent !== (detail ?? '')) this.#detail.textContent = detail ?? '';
    this.#detail.hidden = detail === undefined;
    this.#record.disabled = phase.type === 'opening';
    this.#recordText.textContent = RECORD_TEXTS[phase.type];
    this.#pause.hidden = !canPause || (phase.type !== 'live' && phase.type !== 'paused');
    this.#clear.hidden = !canClear || phase.type !== 'idle';
    this.#pauseText.textContent = phase.type === 'paused' ? 'Go on' : 'Pause';
    if (phase.type !== 'live') this.#lag.hidden = true;
  }

  showLag(lagMs: number): void {
    this.#lag.hidden = false;
    this.#lag.textContent = `${(Math.max(0, lagMs) / 1_000).toFixed(1)} s behind`;
  }

  showClock(audioMs: number): void {
    this.#clock.textContent = clockText(audioMs);
  }

  /** What is heard, as the person knows it. */
  showSource(name: string): void {
    this.#source.textContent = name;
    this.#source.title = name;
  }

  showTrouble(trouble: Trouble | undefined): void {
    byId('trouble-title', HTMLElement).textContent = trouble?.title ?? '';
    byId('trouble-advice', HTMLElement).textContent = trouble?.advice ?? '';
    this.#trouble.hidden = trouble === undefined;
  }
}
