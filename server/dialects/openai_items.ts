/**
 * The turns of an OpenAI realtime conversation: one item for each, from the first sound to its transcript. Utterances
 * belong to items: a turn has one, or several where a long one was split or only the client says where a turn ends.
 */
import { randomUUID } from 'node:crypto';
import { CONVERSATION_ITEM_MAX_COUNT } from '../../pipeline/limits.ts';
import type { SessionEvent } from '../../pipeline/session_events.ts';

type EventOf<T extends SessionEvent['type']> = Extract<SessionEvent, { type: T }>;

interface Item {
  readonly id: string;
  /** Texts of its utterances, in order; empty ones are left out. */
  readonly texts: string[];
  /** Utterances whose finals are owed, with what was shown of each. */
  readonly shown: Map<number, string>;
  heardMs: number;
  hasDeltas: boolean;
  isCommitted: boolean;
  /** The client's commit is on its way through the audio path: more may come before it. */
  isFlushing: boolean;
  /** Its flush has reached the audio: what begins from then on is not its own. */
  isCut: boolean;
  /** The client does not want it: nothing is said of it. */
  isCleared: boolean;
}

export interface OpenaiItemsOptions {
  readonly send: (event: object) => void;
  /** The form of the beta: one event for a new item instead of two. */
  readonly isBeta: boolean;
}

/** An utterance, told apart from those of the sessions before it. */
export interface Turn {
  readonly event: EventOf<'speechStart' | 'speechEnd' | 'partial' | 'final'>;
  /** Silence ends turns; otherwise only commits do. */
  readonly hasTurnDetection: boolean;
}

export class OpenaiItems {
  readonly #options: OpenaiItemsOptions;
  /** Where utterances go that begin now; undefined between turns. */
  #open: Item | undefined;
  /** Committed or cleared by the client, and not answered by the audio path yet, in order. */
  readonly #flushing: Item[] = [];
  /** Of utterances whose finals are owed. */
  readonly #itemOf = new Map<number, Item>();
  /** Committed ones by id, the oldest first. */
  readonly #items = new Map<string, Item>();
  #lastId: string | null = null;

  constructor(options: OpenaiItemsOptions) {
    this.#options = options;
  }

  /** The client's commit. Its item, for the flush: `flushed` has to follow. */
  commit(audioMs: number, hasTurnDetection: boolean): string {
    const item = this.#open ?? newItem();
    item.isFlushing = true;
    this.#flushing.push(item);
    if (hasTurnDetection && item.shown.size > 0) this.#sendStopped(item, audioMs);
    this.#commit(item);
    return item.id;
  }

  /** The client wants nothing of what it has not committed. The id for the flush: `flushed` has to follow. */
  clear(): string {
    const item = this.#open ?? newItem();
    this.#open = undefined;
    item.isCleared = item.isFlushing = true;
    this.#flushing.push(item);
    return item.id;
  }

  /** All that was said before the flush of an item has begun. */
  cut(id: string): void {
    const item = this.#flushing.find((candidate) => candidate.id === id);
    if (item !== undefined) item.isCut = true;
  }

  /** Every final before the flush of an item has come. */
  flushed(id: string): void {
    const index = this.#flushing.findIndex((item) => item.id === id);
    const [item] = index === -1 ? [] : this.#flushing.splice(index, 1);
    if (item === undefined) return;
    item.isFlushing = false;
    this.#completeIfHeard(item);
  }

  /** What a session says of an utterance. */
  heard({ event, hasTurnDetection }: Turn): void {
    switch (event.type) {
      case 'speechStart':
        this.#onSpeechStart(event, hasTurnDetection);
        return;
      case 'partial':
        this.#show(event, event.text.slice(0, event.stableLength));
        return;
      case 'speechEnd': {
        const item = this.#itemOf.get(event.utteranceId);
        // After a split the next utterance begins at once, in the same turn.
        if (item !== undefined && hasTurnDetection && event.reason !== 'split')
          this.#endTurn(item, event.audioMs);
        return;
      }
      case 'final':
        this.#onFinal(event, hasTurnDetection);
    }
  }

  /** A committed item, as clients are told it; undefined if there is none of this id. */
  retrieve(id: string): object | undefined {
    const item = this.#items.get(id);
    return item === undefined ? undefined : itemObject(item);
  }

  /** Whether there was one of this id. */
  delete(id: string): boolean {
    return this.#items.delete(id);
  }

  #onSpeechStart(event: EventOf<'speechStart'>, hasTurnDetection: boolean): void {
    const flushing = this.#flushing.find(({ isCut }) => !isCut);
    const isNew = flushing === undefined && this.#open === undefined;
    const item = flushing ?? (this.#open ??= newItem());
    item.shown.set(event.utteranceId, '');
    this.#itemOf.set(event.utteranceId, item);
    if (!isNew || !hasTurnDetection) return;
    this.#options.send({
      type: 'input_audio_buffer.speech_started',
      audio_start_ms: event.audioMs,
      item_id: item.id,
    });
  }

  #onFinal(event: EventOf<'final'>, hasTurnDetection: boolean): void {
    const item = this.#itemOf.get(event.utteranceId);
    if (item === undefined) return;
    this.#show(event, event.text);
    this.#itemOf.delete(event.utteranceId);
    item.shown.delete(event.utteranceId);
    item.heardMs += event.endAudioMs - event.startAudioMs;
    if (event.text !== '') item.texts.push(event.text);
    // Split, and nobody went on.
    if (hasTurnDetection && item.shown.size === 0) this.#endTurn(item, event.endAudioMs);
    this.#completeIfHeard(item);
  }

  /**
   * Deltas only ever add: what was shown and is heard otherwise now waits for the whole, and an utterance for the final
   * of the one before it.
   */
  #show({ utteranceId }: { readonly utteranceId: number }, text: string): void {
    const item = this.#itemOf.get(utteranceId);
    const shown = item?.shown.get(utteranceId);
    if (item === undefined || shown === undefined || item.isCleared) return;
    const [oldestId] = item.shown.keys();
    if (utteranceId !== oldestId || !text.startsWith(shown) || text.length === shown.length) return;
    item.shown.set(utteranceId, text);
    const delta = `${shown === '' && item.hasDeltas ? ' ' : ''}${text.slice(shown.length)}`;
    item.hasDeltas = true;
    this.#options.send({
      type: 'conversation.item.input_audio_transcription.delta',
      ...{ item_id: item.id, content_index: 0, delta },
    });
  }

  /** Silence has ended a turn, unless the client has or does not want it. */
  #endTurn(item: Item, audioMs: number): void {
    if (item.isCommitted || item.isCleared) return;
    this.#sendStopped(item, audioMs);
    this.#commit(item);
  }

  #sendStopped({ id }: Item, audioMs: number): void {
    const audio_end_ms = Math.round(audioMs);
    this.#options.send({ type: 'input_audio_buffer.speech_stopped', audio_end_ms, item_id: id });
  }

  #commit(item: Item): void {
    const { send, isBeta } = this.#options;
    if (this.#open === item) this.#open = undefined;
    const previous_item_id = this.#lastId;
    this.#lastId = item.id;
    item.isCommitted = true;
    this.#items.set(item.id, item);
    const [oldest] = this.#items.keys();
    if (this.#items.size > CONVERSATION_ITEM_MAX_COUNT && oldest !== undefined) this.#items.delete(oldest);
    send({ type: 'input_audio_buffer.committed', item_id: item.id, previous_item_id });
    for (const what of isBeta ? ['created'] : ['added', 'done']) {
      send({ type: `conversation.item.${what}`, previous_item_id, item: itemObject(item) });
    }
  }

  #completeIfHeard(item: Item): void {
    if (!item.isCommitted || item.isFlushing || item.shown.size > 0) return;
    this.#options.send({
      type: 'conversation.item.input_audio_transcription.completed',
      ...{ item_id: item.id, content_index: 0, transcript: item.texts.join(' ') },
      usage: { type: 'duration', seconds: Math.round(item.heardMs) / 1_000 },
    });
  }
}

function newItem(): Item {
  return {
    ...{ id: `item_${randomUUID().replaceAll('-', '')}`, texts: [], shown: new Map() },
    ...{
      heardMs: 0,
      hasDeltas: false,
      isCommitted: false,
      isFlushing: false,
      isCut: false,
      isCleared: false,
    },
  };
}

function itemObject({ id, texts, shown, isFlushing }: Item): object {
  const transcript = isFlushing || shown.size > 0 ? null : texts.join(' ');
  const content = [{ type: 'input_audio', transcript }];
  return {
    ...{ id, object: 'realtime.item', type: 'message', status: 'completed', role: 'user', content },
  };
}
