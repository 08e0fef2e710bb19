/** Keeps the screen on while captions run, where the browser can. */

export class ScreenWake {
  #lock: WakeLockSentinel | undefined;
  #isWanted = false;

  constructor() {
    // The browser takes the lock away from hidden pages.
    document.addEventListener('visibilitychange', () => {
      if (this.#isWanted && document.visibilityState === 'visible') void this.#request();
    });
  }

  hold(isWanted: boolean): void {
    if (this.#isWanted === isWanted) return;
    this.#isWanted = isWanted;
    if (isWanted) {
      void this.#request();
    } else {
      void this.#lock?.release();
      this.#lock = undefined;
    }
  }

  async #request(): Promise<void> {
    try {
      // Missing in some browsers, whatever TypeScript says.
      const wakeLock = navigator.wakeLock as WakeLock | undefined;
      this.#lock = await wakeLock?.request('screen');
      if (!this.#isWanted) await this.#lock?.release();
    } catch {
      // A low battery, for example. The captions run all the same.
    }
  }
}
