/** Shows the transcript and changes only what has changed. */
import { byId } from './elements.ts';
import { clockText, type Line, type Transcript } from './transcript.ts';

/** So near the end of the text, the reader is taken to follow it. */
const FOLLOW_DISTANCE_PX = 64;
/** Finals that a screen reader may still want to read; older ones leave the announcer. */
const ANNOUNCED_MAX_COUNT = 5;

export class TranscriptView {
  readonly #page = byId('page', HTMLElement);
  readonly #list = byId('lines', HTMLOListElement);
  readonly #welcome = byId('welcome', HTMLElement);
  readonly #jump = byId('jump', HTMLButtonElement);
  readonly #announcer = byId('announcer', HTMLElement);
  readonly #shown = new Map<string, { readonly line: Line; readonly element: HTMLLIElement }>();
  #follows = true;
  #hasNews = false;

  constructor() {
    this.#page.addEventListener('scroll', () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#page;
      this.#follows = scrollHeight - scrollTop - clientHeight < FOLLOW_DISTANCE_PX;
      this.#showJump();
    });
    this.#jump.addEventListener('click', () => {
      this.jumpToLive();
    });
  }

  show({ lines }: Transcript): void {
    this.#welcome.hidden = lines.length > 0;
    const ids = new Set(lines.map(({ id }) => id));
    for (const [id, { element }] of this.#shown) {
      if (ids.has(id)) continue;
      element.remove();
      this.#shown.delete(id);
    }
    let previous: Element | null = null;
    for (const line of lines) {
      const element = this.#showLine(line);
      const place: Element | null =
        previous === null ? this.#list.firstElementChild : previous.nextElementSibling;
      if (place !== element) this.#list.insertBefore(element, place);
      previous = element;
    }
    this.#hasNews = true;
    if (this.#follows) this.#page.scrollTop = this.#page.scrollHeight;
    this.#showJump();
  }

  /** Follows the text again from here on. */
  jumpToLive(): void {
    this.#follows = true;
    this.#page.scrollTop = this.#page.scrollHeight;
    this.#showJump();
  }

  /** Marks the whole text, for the person to copy. */
  select(): void {
    getSelection()?.selectAllChildren(this.#list);
  }

  #showJump(): void {
    if (this.#follows) this.#hasNews = false;
    this.#jump.hidden = this.#follows || !this.#hasNews;
  }

  #showLine(line: Line): HTMLLIElement {
    const known = this.#shown.get(line.id);
    if (known?.line === line) return known.element;
    const element = known?.element ?? createLine(line);
    this.#shown.set(line.id, { line, element });
    if (line.type === 'speech') {
      element.dataset['final'] = String(line.isFinal);
      const text = element.querySelector('p');
      if (text !== null) showWords(text, line);
      if (line.isFinal && !(known?.line.type === 'speech' && known.line.isFinal)) this.#announce(line.text);
    }
    return element;
  }

  /** Partials would interrupt each other in a screen reader; finals wait for their turn. */
  #announce(text: string): void {
    const spoken = document.createElement('p');
    spoken.textContent = text;
    this.#announcer.append(spoken);
    while (this.#announcer.childElementCount > ANNOUNCED_MAX_COUNT)
      this.#announcer.firstElementChild?.remove();
  }
}

function createLine(line: Line): HTMLLIElement {
  const element = document.createElement('li');
  element.className = line.type === 'gap' ? 'line gap' : 'line';
  const time = document.createElement('time');
  time.textContent = clockText(line.startAudioMs);
  time.dateTime = `PT${(line.startAudioMs / 1_000).toFixed(1)}S`;
  const text = document.createElement('p');
  if (line.type === 'gap') {
    const seconds = Math.max(1, Math.round((line.endAudioMs - line.startAudioMs) / 1_000));
    text.textContent = `${seconds} s could not be kept while there was no connection`;
  }
  element.append(time, text);
  return element;
}

/** Each word is an element of its own that stays while its text does, so that it can settle softly. */
function showWords(parent: HTMLElement, { text, stableLength }: Extract<Line, { type: 'speech' }>): void {
  let end = 0;
  const words = text.match(/\s*\S+/g) ?? [];
  for (const [i, word] of words.entries()) {
    end += word.length;
    let span = parent.children.item(i);
    if (span === null) {
      span = document.createElement('span');
      parent.append(span);
    }
    if (span.textContent !== word) span.textContent = word;
    span.className = end <= stableLength ? 'word settled' : 'word';
  }
  while (parent.childElementCount > words.length) parent.lastElementChild?.remove();
}
