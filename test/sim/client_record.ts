/** What one client was told, checked message by message: rules I1, I2, I3 and I5 as a client can see them. */
import type { FinalMessage, PartialMessage, ServerMessage } from '../../client/protocol.ts';
import { msToSamples, samplesToMs } from '../../pipeline/audio.ts';
import { CLOSE_CODES, type ErrorCode } from '../../pipeline/errors.ts';
import { PENDING_DELIVERY_MAX_COUNT } from '../../pipeline/limits.ts';
import type { ClientScript } from './client_script.ts';
import type { Accuse } from './scripted_audio.ts';
import { textSpan } from './watermark.ts';

interface OpenUtterance {
  readonly id: number;
  readonly startAudioMs: number;
  revision: number;
}

/** How a connection came to its end. */
export interface Ending {
  readonly code: number;
  readonly reason: string;
}

export class ClientRecord {
  readonly finals: FinalMessage[] = [];
  /** Finals, flushes and the end, in the order in which they came: `final 3`, `flushed f1`, `done`. */
  readonly sequence: string[] = [];
  readonly failedIds = new Set<number>();
  readonly #script: ClientScript;
  readonly #accuse: Accuse;
  #isReady = false;
  #open: OpenUtterance | undefined;
  #nextStartedId: number;
  #nextFinalId: number;
  #endedAudioMs: number;
  #errorCode: string | undefined;
  #isGoingAway = false;
  #ending: Ending | undefined;

  constructor(script: ClientScript, accuse: Accuse) {
    this.#script = script;
    this.#accuse = (rule, detail) => {
      accuse(rule, `client ${script.number}: ${detail}`);
    };
    this.#nextStartedId = this.#nextFinalId = script.start.resume?.nextUtteranceId ?? 1;
    this.#endedAudioMs = script.start.resume?.fromAudioMs ?? 0;
  }

  get number(): number {
    return this.#script.number;
  }

  get isDone(): boolean {
    return this.sequence.at(-1) === 'done';
  }

  get ending(): Ending | undefined {
    return this.#ending;
  }

  get errorCode(): string | undefined {
    return this.#errorCode;
  }

  /** Utterances that have started and have no final. */
  get owedCount(): number {
    return this.#nextStartedId - this.#nextFinalId;
  }

  /** Where the client's position 0 lies in the session's audio, in samples. */
  get originSamples(): number {
    return msToSamples(this.#script.start.resume?.fromAudioMs ?? 0);
  }

  receive(message: ServerMessage): void {
    if (this.#ending !== undefined || this.#errorCode !== undefined || this.isDone) {
      this.#accuse('I1', `${message.type} came after the end`);
    }
    if (!this.#isReady && message.type !== 'ready' && message.type !== 'error') {
      this.#accuse('I2', `${message.type} came before ready`);
    }
    switch (message.type) {
      case 'ready':
        this.#isReady = true;
        return;
      case 'speechStart':
        this.#onSpeechStart(message.utteranceId, message.audioMs);
        return;
      case 'speechEnd':
        this.#onSpeechEnd(message.utteranceId);
        return;
      case 'partial':
        this.#onPartial(message);
        return;
      case 'final':
        this.#onFinal(message);
        return;
      case 'notice':
        if (message.code === 'utterance_failed') this.failedIds.add(message.utteranceId ?? 0);
        return;
      case 'goAway':
        this.#isGoingAway = true;
        if (message.resume.nextUtteranceId !== this.#nextFinalId) {
          this.#accuse('I2', `goAway resumes at ${message.resume.nextUtteranceId}, not ${this.#nextFinalId}`);
        }
        return;
      case 'flushed':
        this.sequence.push(`flushed ${message.id}`);
        return;
      case 'done':
        this.sequence.push('done');
        if (this.owedCount !== 0) this.#accuse('I1', `done, and ${this.owedCount} finals are missing`);
        return;
      case 'error':
        this.#errorCode = message.code;
    }
  }

  closed(ending: Ending): void {
    if (this.#ending !== undefined) this.#accuse('I1', 'closed twice');
    this.#ending = ending;
    if (this.isDone) {
      const expected = this.#isGoingAway ? CLOSE_CODES.draining : 1000;
      if (ending.code !== expected) this.#accuse('I1', `done, but closed with ${ending.code}`);
      return;
    }
    if (ending.reason === 'slow_reader') return;
    // Who does not read cannot be told anything but by the close itself.
    const isUnread = this.#script.kind === 'slowReader' && this.#errorCode === undefined;
    if (isUnread && ending.code === CLOSE_CODES[ending.reason as ErrorCode]) return;
    // The transport ends connections on which no session was started.
    if (ending.code === 1001 && !this.#isReady) return;
    if (this.#errorCode === undefined) this.#accuse('I1', `closed with ${ending.code} without a word`);
    else if (ending.code !== CLOSE_CODES[this.#errorCode as ErrorCode]) {
      this.#accuse('I1', `${this.#errorCode} closed with ${ending.code}`);
    }
  }

  #onSpeechStart(id: number, audioMs: number): void {
    if (this.#open !== undefined) this.#accuse('I2', `utterance ${id} started inside ${this.#open.id}`);
    if (id !== this.#nextStartedId)
      this.#accuse('I2', `utterance ${id} started instead of ${this.#nextStartedId}`);
    this.#nextStartedId = id + 1;
    this.#open = { id, startAudioMs: audioMs, revision: 0 };
    // One more may be in progress, and one may be the straw that breaks the session.
    if (this.owedCount > PENDING_DELIVERY_MAX_COUNT + 2)
      this.#accuse('I5', `${this.owedCount} finals are owed`);
  }

  #onSpeechEnd(id: number): void {
    if (this.#open?.id !== id) this.#accuse('I2', `utterance ${id} ended but was not open`);
    this.#open = undefined;
  }

  #onPartial(partial: PartialMessage): void {
    const open = this.#open;
    if (open?.id !== partial.utteranceId) {
      this.#accuse('I2', `a partial for utterance ${partial.utteranceId}, which is not open`);
      return;
    }
    if (partial.revision <= open.revision)
      this.#accuse('I2', `revision ${partial.revision} after ${open.revision}`);
    open.revision = partial.revision;
    const span = textSpan(partial.text);
    if (span?.client !== this.#script.number || partial.startAudioMs !== open.startAudioMs) {
      this.#accuse('I3', `partial ${partial.utteranceId} says "${partial.text}"`);
      return;
    }
    const { originSamples } = this;
    const isItsOwn =
      roundMs(span.startSamples + originSamples) === partial.startAudioMs &&
      roundMs(span.endSamples + originSamples) === partial.endAudioMs;
    if (!isItsOwn) {
      this.#accuse(
        'I3',
        `partial of ${partial.startAudioMs}–${partial.endAudioMs} ms says "${partial.text}"`,
      );
    }
  }

  #onFinal(final: FinalMessage): void {
    this.sequence.push(`final ${final.utteranceId}`);
    this.finals.push(final);
    if (final.utteranceId !== this.#nextFinalId || final.utteranceId === this.#open?.id) {
      this.#accuse('I2', `final ${final.utteranceId} came instead of ${this.#nextFinalId}`);
    }
    this.#nextFinalId = final.utteranceId + 1;
    if (final.utteranceId >= this.#nextStartedId)
      this.#accuse('I2', `final ${final.utteranceId} never started`);
    if (final.startAudioMs < this.#endedAudioMs || final.endAudioMs < final.startAudioMs) {
      this.#accuse(
        'I2',
        `final of ${final.startAudioMs}–${final.endAudioMs} ms after ${this.#endedAudioMs} ms`,
      );
    }
    this.#endedAudioMs = final.endAudioMs;
    if (final.ackedAudioMs !== final.endAudioMs)
      this.#accuse('I2', `final acknowledges ${final.ackedAudioMs} ms`);
  }
}

/** As the protocol gives positions. */
export function roundMs(samples: number): number {
  return Math.round(samplesToMs(samples));
}
