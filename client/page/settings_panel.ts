/** The settings: a dialog, the browser's storage, and the list of microphones. */
import { listMicrophones, watchMicrophones, type MicrophoneOptions } from '../browser/microphone.ts';
import { byId } from './elements.ts';
import { captureWayOf, parsePreferences, THEMES, type Preferences } from './preferences.ts';

const STORAGE_KEY = 'earwitness';

export class SettingsPanel {
  readonly #dialog = byId('settings', HTMLDialogElement);
  readonly #form: HTMLFormElement;
  readonly #devices = byId('device', HTMLSelectElement);
  readonly #silenceText = byId('silence-text', HTMLOutputElement);
  readonly #onDevice: () => void;
  #preferences: Preferences;

  /** `onDevice` hears that another microphone was chosen. */
  constructor(onDevice: () => void) {
    this.#onDevice = onDevice;
    this.#form = this.#dialog.querySelector('form') ?? document.createElement('form');
    this.#preferences = parsePreferences(readStorage());
    this.#fill();
    this.#applyTheme();
    this.#form.addEventListener('input', () => {
      this.#read();
    });
    watchMicrophones(() => {
      void this.refreshDevices();
    });
  }

  get preferences(): Preferences {
    return this.#preferences;
  }

  /** What to open the microphone with. `?capture=` in the page's address picks the way of capture. */
  get microphone(): MicrophoneOptions {
    const { deviceId, way, echoCancellation, noiseSuppression, autoGainControl } = this.#preferences;
    const wanted = captureWayOf(new URLSearchParams(location.search).get('capture')) ?? captureWayOf(way);
    return {
      ...(deviceId === '' ? {} : { deviceId }),
      ...(wanted === undefined ? {} : { way: wanted }),
      ...{ echoCancellation, noiseSuppression, autoGainControl },
    };
  }

  open(): void {
    this.#dialog.showModal();
    void this.refreshDevices();
  }

  /** Browsers tell the names of microphones once one has been used. */
  async refreshDevices(): Promise<void> {
    const microphones = await listMicrophones();
    const options = microphones.map(({ deviceId, label }, i) => {
      return new Option(label === '' ? `Microphone ${i + 1}` : label, deviceId);
    });
    this.#devices.replaceChildren(new Option('The browser’s choice', ''), ...options);
    const { deviceId } = this.#preferences;
    // One that is not plugged in is not forgotten: it may come back.
    this.#devices.value = microphones.some((device) => device.deviceId === deviceId) ? deviceId : '';
  }

  #read(): void {
    const before = this.#preferences.deviceId;
    const fields = new FormData(this.#form);
    this.#preferences = {
      deviceId: text(fields, 'deviceId'),
      echoCancellation: fields.has('echoCancellation'),
      noiseSuppression: fields.has('noiseSuppression'),
      autoGainControl: fields.has('autoGainControl'),
      silenceMs: Number(text(fields, 'silenceMs')),
      way: captureWayOf(text(fields, 'way')) ?? '',
      theme: THEMES.find((theme) => theme === text(fields, 'theme')) ?? 'system',
      shortcuts: fields.has('shortcuts'),
    };
    writeStorage(JSON.stringify(this.#preferences));
    this.#showSilence();
    this.#applyTheme();
    if (this.#preferences.deviceId !== before) this.#onDevice();
  }

  #fill(): void {
    for (const [name, value] of Object.entries(this.#preferences)) {
      const field = this.#form.elements.namedItem(name);
      if (field instanceof HTMLInputElement && field.type === 'checkbox') field.checked = value === true;
      else if (field !== null && 'value' in field) field.value = String(value);
    }
    this.#showSilence();
  }

  #showSilence(): void {
    this.#silenceText.value = `${(this.#preferences.silenceMs / 1_000).toFixed(1)} s`;
  }

  #applyTheme(): void {
    const { theme } = this.#preferences;
    if (theme === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme;
  }
}

function text(fields: FormData, name: string): string {
  const value = fields.get(name);
  return typeof value === 'string' ? value : '';
}

/** Storage may be forbidden, as in some private windows; then nothing is kept. */
function readStorage(): string | null {
  try {
    return localStorage.getItem(STORAGE_KEY);
  } catch {
    return null;
  }
}

function writeStorage(content: string): void {
  try {
    localStorage.setItem(STORAGE_KEY, content);
  } catch {
    // See readStorage.
  }
}
