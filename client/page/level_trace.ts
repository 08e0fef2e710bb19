/** Draws the loudness of the last seconds as a line of bars, and the newest of it around the button. */
import { byId } from './elements.ts';

const BAR_PX = 3;
const GAP_PX = 3;
/** Levels per bar: 20 ms each. */
const LEVELS_PER_BAR_COUNT = 4;
/** Quieter than this is drawn as silence. */
const FLOOR_DB = -54;
/** Shows the difference between loud and less loud, where speech is. */
const CURVE = 2;

export class LevelTrace {
  readonly #canvas = byId('trace', HTMLCanvasElement);
  readonly #dock = byId('dock', HTMLElement);
  readonly #bars: number[] = [];
  #loudest = 0;
  #levelCount = 0;
  #isDue = false;

  /** The level of the next 20 ms, from 0 to 1. */
  push(rms: number): void {
    this.#loudest = Math.max(this.#loudest, loudness(rms));
    if (++this.#levelCount < LEVELS_PER_BAR_COUNT) return;
    this.#bars.push(this.#loudest);
    if (this.#bars.length > this.#canvas.clientWidth / (BAR_PX + GAP_PX)) this.#bars.shift();
    this.#dock.style.setProperty('--level', this.#loudest.toFixed(3));
    this.#levelCount = 0;
    this.#loudest = 0;
    this.#draw();
  }

  clear(): void {
    this.#bars.length = 0;
    this.#dock.style.setProperty('--level', '0');
    this.#draw();
  }

  #draw(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#paint();
    });
  }

  #paint(): void {
    const { clientWidth, clientHeight } = this.#canvas;
    const scale = devicePixelRatio;
    this.#canvas.width = Math.round(clientWidth * scale);
    this.#canvas.height = Math.round(clientHeight * scale);
    const context = this.#canvas.getContext('2d');
    if (context === null) return;
    context.scale(scale, scale);
    context.fillStyle = getComputedStyle(this.#canvas).color;
    const startX = (clientWidth + this.#bars.length * (BAR_PX + GAP_PX)) / 2;
    for (const [age, bar] of [...this.#bars].reverse().entries()) {
      const height = BAR_PX + bar * (clientHeight - BAR_PX);
      const x = startX - (age + 1) * (BAR_PX + GAP_PX);
      context.globalAlpha = 0.2 + 0.6 * (1 - (2 * Math.abs(x - clientWidth / 2)) / clientWidth);
      context.beginPath();
      context.roundRect(x, (clientHeight - height) / 2, BAR_PX, height, BAR_PX / 2);
      context.fill();
    }
  }
}

/** From 0 (silence) to 1, on a scale as people hear. */
function loudness(rms: number): number {
  return Math.max(0, 1 - (20 * Math.log10(Math.max(rms, 1e-6))) / FLOOR_DB) ** CURVE;
}
