/** Lets each utterance through once, although a resumed session may hear parts of it again. */
import type { FinalMessage, PartialMessage, SpeechEndMessage, SpeechStartMessage } from './protocol.ts';

export class UtteranceGate {
  #nextFinalId = 1;
  #startedId = 0;
  #endedId = 0;
  #partial = { id: 0, revision: 0 };
  /** Where the utterances that wait for their final began. */
  readonly #openSinceAudioMs = new Map<number, number>();

  /** Id of the first utterance that has had no final. */
  get nextUtteranceId(): number {
    return this.#nextFinalId;
  }

  /** Where the oldest utterance that still waits for its final began, if there is one. */
  get openSinceAudioMs(): number | undefined {
    return this.#openSinceAudioMs.get(this.#nextFinalId);
  }

  /** True for the first `speechStart` of an utterance. */
  admitStart({ utteranceId, audioMs }: SpeechStartMessage): boolean {
    if (utteranceId <= this.#startedId) return false;
    this.#openSinceAudioMs.set(utteranceId, audioMs);
    this.#startedId = utteranceId;
    return true;
  }

  /** True for the first `speechEnd` of an utterance. */
  admitEnd({ utteranceId }: SpeechEndMessage): boolean {
    if (utteranceId <= this.#endedId) return false;
    this.#endedId = utteranceId;
    return true;
  }

  /** The partial, numbered on from those before a reconnect; undefined when its utterance has its final. */
  admitPartial(message: PartialMessage): PartialMessage | undefined {
    const id = message.utteranceId;
    if (id < this.#nextFinalId) return undefined;
    if (id !== this.#partial.id) this.#partial = { id, revision: 0 };
    this.#partial.revision++;
    return { ...message, revision: this.#partial.revision };
  }

  /** True for the first final of an utterance. */
  admitFinal({ utteranceId }: FinalMessage): boolean {
    if (utteranceId < this.#nextFinalId) return false;
    for (const id of this.#openSinceAudioMs.keys()) if (id <= utteranceId) this.#openSinceAudioMs.delete(id);
    this.#nextFinalId = utteranceId + 1;
    this.#startedId = Math.max(this.#startedId, utteranceId);
    this.#endedId = Math.max(this.#endedId, utteranceId);
    return true;
  }
}
