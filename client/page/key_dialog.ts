/** Asks for the key of servers that want one, and keeps it for as long as the tab is open. */
import { byId } from './elements.ts';

const STORAGE_KEY = 'earwitness-key';
const ASK = 'Whoever runs the server has one for you. It stays in this tab.';
const ASK_AGAIN = 'That one was not accepted. Check it, or ask whoever runs the server.';

export class KeyDialog {
  readonly #dialog = byId('key', HTMLDialogElement);
  readonly #input = byId('key-input', HTMLInputElement);
  readonly #advice = byId('key-advice', HTMLElement);
  readonly #forget = byId('forget-key', HTMLButtonElement);
  #key: string | undefined;

  constructor() {
    this.#key = storedKey();
    this.#forget.addEventListener('click', () => {
      this.#keep(undefined);
    });
    this.#show();
  }

  get key(): string | undefined {
    return this.#key;
  }

  /** Resolves to the key that the person gave, or to undefined if they would rather not. */
  ask(): Promise<string | undefined> {
    this.#advice.textContent = this.#key === undefined ? ASK : ASK_AGAIN;
    this.#keep(undefined);
    this.#input.value = '';
    this.#dialog.returnValue = '';
    this.#dialog.showModal();
    return new Promise((resolve) => {
      this.#dialog.addEventListener(
        'close',
        () => {
          const key = this.#dialog.returnValue === 'use' ? this.#input.value.trim() : '';
          this.#input.value = '';
          this.#keep(key === '' ? undefined : key);
          resolve(this.#key);
        },
        { once: true },
      );
    });
  }

  #keep(key: string | undefined): void {
    this.#key = key;
    storeKey(key);
    this.#show();
  }

  #show(): void {
    this.#forget.hidden = this.#key === undefined;
  }
}

function storedKey(): string | undefined {
  try {
    return sessionStorage.getItem(STORAGE_KEY) ?? undefined;
  } catch {
    // Storage is forbidden here: the key lives as long as the page does.
    return undefined;
  }
}

function storeKey(key: string | undefined): void {
  try {
    if (key === undefined) sessionStorage.removeItem(STORAGE_KEY);
    else sessionStorage.setItem(STORAGE_KEY, key);
  } catch {
    // As above.
  }
}
