/** One session's stream in a container, named or not: the first bytes decide, then the container's own decoder goes on. */
import assert from 'node:assert/strict';
import { sniffContainer, type Container } from './container_magic.ts';
import type { AudioDecoder, DecodedAudio } from '../contracts.ts';
import { refusalCode, refusalOf, refused, type Refusal } from '../refusal.ts';
import { packSnapshot, unpackSnapshot } from '../snapshot.ts';

const SNAPSHOT_KIND = 'A';

/** Containers that are taken. */
export const TAKEN_CONTAINERS = ['ogg', 'webm', 'wav'] as const;
export type TakenContainer = (typeof TAKEN_CONTAINERS)[number];

export interface ContainerDecoderParts {
  /** The container that was named; without one any that is taken. */
  readonly named?: TakenContainer;
  /** Makes the container's own decoder; it is owned and closed here. */
  readonly create: (container: TakenContainer) => AudioDecoder;
  /** Called once, when the decoder has been closed. */
  readonly onClosed: () => void;
}

/** A stream that begins with anything but what was named, or can be taken, is refused for good, by what it is. */
export class ContainerDecoder implements AudioDecoder {
  readonly #parts: ContainerDecoderParts;
  /** The first bytes, while they do not decide. */
  #head = new Uint8Array(0);
  #inner: { readonly container: TakenContainer; readonly decoder: AudioDecoder } | undefined;
  #refusal: Refusal | undefined;
  #isClosed = false;

  constructor(parts: ContainerDecoderParts) {
    this.#parts = parts;
  }

  decode(message: Uint8Array): DecodedAudio {
    if (message.length === 0) return { pcm: new Int16Array(0) };
    if (this.#refusal !== undefined) return refused(this.#refusal);
    if (this.#inner !== undefined) return this.#inner.decoder.decode(message);
    const head = new Uint8Array(this.#head.length + message.length);
    head.set(this.#head);
    head.set(message, this.#head.length);
    const found = sniffContainer(head);
    if (found === 'open') {
      this.#head = head;
      return { pcm: new Int16Array(0), concealed: [] };
    }
    this.#head = new Uint8Array(0);
    const taken = this.#takenOf(found);
    if (taken === undefined) {
      this.#refusal = this.#refusalFor(found);
      return refused(this.#refusal);
    }
    return this.#open(taken).decode(head);
  }

  #takenOf(found: Container | 'unknown'): TakenContainer | undefined {
    const { named } = this.#parts;
    return TAKEN_CONTAINERS.find((name) => name === found && (named ?? name) === name);
  }

  #refusalFor(found: Container | 'unknown'): Refusal {
    return found === 'unknown' && this.#parts.named !== undefined ? 'headerless' : found;
  }

  #open(container: TakenContainer): AudioDecoder {
    this.#inner?.decoder.close();
    const decoder = this.#parts.create(container);
    this.#inner = { container, decoder };
    return decoder;
  }

  snapshot(): Uint8Array {
    const container = this.#inner === undefined ? -1 : TAKEN_CONTAINERS.indexOf(this.#inner.container);
    return packSnapshot(SNAPSHOT_KIND, {
      fields: [refusalCode(this.#refusal), container],
      parts: [this.#inner?.decoder.snapshot() ?? this.#head],
    });
  }

  /** Throws `AssertionError` for anything but a snapshot of what this session may hold. */
  restore(snapshot: Uint8Array): void {
    const { fields, parts } = unpackSnapshot(SNAPSHOT_KIND, snapshot);
    const [refusal, index = -1] = fields;
    const [state = new Uint8Array(0)] = parts;
    const container = TAKEN_CONTAINERS[index];
    assert(
      (this.#parts.named ?? container) === container || container === undefined,
      'a snapshot of another container',
    );
    this.#refusal = refusalOf(refusal);
    this.#head = container === undefined ? state.slice() : new Uint8Array(0);
    if (container !== undefined) this.#open(container).restore(state);
    else this.#close();
  }

  #close(): void {
    this.#inner?.decoder.close();
    this.#inner = undefined;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#close();
    this.#parts.onClosed();
  }
}
