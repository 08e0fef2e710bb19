/** One channel of a Deepgram stream: a session's events as `Results` and what goes with them. */
import type { Cancel, Clock } from '../../pipeline/clock.ts';
import type { UtteranceEndReason } from '../../pipeline/contracts.ts';
import { AUDIO_STOPPED_GRACE_MS, FINAL_OBJECTIVE_MS, IDLE_MAX_MS } from '../../pipeline/limits.ts';
import type { Session } from '../../pipeline/session.ts';
import type { FinalEvent } from '../../pipeline/session_events.ts';
import { alternativeOf, resultsMessage, seconds, type DeepgramOrigin } from './deepgram_messages.ts';
import type { DeepgramParameters } from './deepgram_parameters.ts';
import type { DialectEvent, DialectSocket } from './dialect_socket.ts';

export interface DeepgramChannelOptions {
  readonly socket: DialectSocket;
  readonly clock: Clock;
  readonly parameters: DeepgramParameters;
  readonly origin: DeepgramOrigin;
  readonly channel: number;
  /** Called after the last message of the channel, with how much audio it had. */
  readonly onDone: (audioMs: number) => void;
}

export class DeepgramChannel {
  readonly session: Session;
  readonly #options: DeepgramChannelOptions;
  /** Up to here finals have answered for the audio. */
  #answeredMs = 0;
  #isSpeaking = false;
  /** Why utterances ended whose finals are owed. */
  readonly #endReasons = new Map<number, UtteranceEndReason>();
  #finalizeCount = 0;
  /** The oldest `Finalize` had a final to answer it. */
  #isFinalizeAnswered = false;
  /** Set while `UtteranceEnd` is due. */
  #gap: { readonly lastWordEndMs: number; readonly cancel: Cancel } | undefined;

  /** Throws `OverloadError` if there is no room for a session. */
  constructor(options: DeepgramChannelOptions) {
    this.#options = options;
    const { format, endpointing, hasInterims } = options.parameters;
    this.session = options.socket.open(
      {
        ...{ format, endpointing, partials: hasInterims, words: true, isPaced: false },
        ...{ originAudioMs: 0, firstUtteranceId: 1 },
        ...{ dialect: 'deepgram' as const, idleMaxMs: IDLE_MAX_MS, finalObjectiveMs: FINAL_OBJECTIVE_MS },
      },
      (event) => {
        this.#onEvent(event);
      },
    );
  }

  /** Answers with everything that was said so far. */
  finalize(): void {
    this.#finalizeCount++;
    this.session.flush('finalize');
  }

  /** Ends its timer. */
  close(): void {
    this.#gap?.cancel();
    this.#gap = undefined;
  }

  #onEvent(event: DialectEvent): void {
    const { socket, parameters, channel, onDone } = this.#options;
    switch (event.type) {
      case 'speechStart':
        this.#isSpeaking = true;
        this.close();
        if (!parameters.hasVadEvents) return;
        socket.send({ type: 'SpeechStarted', channel: [channel], timestamp: seconds(event.audioMs) });
        return;
      case 'speechEnd':
        this.#isSpeaking = false;
        this.#endReasons.set(event.utteranceId, event.reason);
        return;
      case 'partial': {
        const results = {
          endAudioMs: event.endAudioMs,
          alternative: alternativeOf(event, parameters.isFormatted),
        };
        socket.offer(this.#results({ ...results, isFinal: false }));
        return;
      }
      case 'final':
        this.#onFinal(event);
        return;
      case 'cut':
        return;
      case 'flushed':
        this.#onFlushed(event.audioMs);
        return;
      case 'done':
        if (this.#gap !== undefined) this.#sendUtteranceEnd(this.#gap.lastWordEndMs);
        onDone(event.audioMs);
        return;
      case 'notice':
      case 'goAway':
      // Deepgram has no words for it: the close says where a client should go.
    }
  }

  #onFinal(event: FinalEvent): void {
    const { socket, parameters } = this.#options;
    const reason = this.#endReasons.get(event.utteranceId);
    this.#endReasons.delete(event.utteranceId);
    const isFromFinalize = reason === 'flush' && this.#finalizeCount > 0;
    if (isFromFinalize) this.#isFinalizeAnswered = true;
    const isPause = reason === 'silence' || reason === 'audioStopped';
    const alternative = alternativeOf(event, parameters.isFormatted);
    socket.send(
      this.#results({
        ...{ alternative, endAudioMs: event.endAudioMs, isFinal: true, isFromFinalize },
        isSpeechFinal: isPause && parameters.hasSpeechFinal,
      }),
    );
    this.#answeredMs = event.endAudioMs;
    const lastWord = event.words.at(-1);
    if (lastWord !== undefined) this.#awaitGap(lastWord.endAudioMs, reason);
  }

  #onFlushed(audioMs: number): void {
    this.#finalizeCount--;
    if (!this.#isFinalizeAnswered) {
      const alternative = { transcript: '', confidence: 0, words: [] };
      const endAudioMs = Math.max(audioMs, this.#answeredMs);
      this.#options.socket.send(
        this.#results({ alternative, endAudioMs, isFinal: true, isFromFinalize: true }),
      );
      this.#answeredMs = endAudioMs;
    }
    this.#isFinalizeAnswered = false;
  }

  /** Waits for the silence after the last word; what of it has ended the utterance has passed already. */
  #awaitGap(lastWordEndMs: number, reason: UtteranceEndReason | undefined): void {
    const { clock, parameters } = this.#options;
    const { utteranceEndMs, endpointing } = parameters;
    if (utteranceEndMs === undefined || this.#isSpeaking) return;
    const graceMs = reason === 'audioStopped' ? AUDIO_STOPPED_GRACE_MS : 0;
    const passedMs = reason === 'silence' || reason === 'audioStopped' ? endpointing.silenceMs + graceMs : 0;
    this.close();
    const cancel = clock.after(Math.max(0, utteranceEndMs - passedMs), () => {
      this.#sendUtteranceEnd(lastWordEndMs);
    });
    this.#gap = { lastWordEndMs, cancel };
  }

  #sendUtteranceEnd(lastWordEndMs: number): void {
    const { socket, channel, parameters } = this.#options;
    this.close();
    const last_word_end = seconds(lastWordEndMs);
    socket.send({ type: 'UtteranceEnd', channel: [channel, parameters.sessionCount], last_word_end });
  }

  /** `Results` from where the last final ended, so that finals follow each other without a gap. */
  #results(
    results: Pick<Parameters<typeof resultsMessage>[1], 'alternative' | 'endAudioMs' | 'isFinal'> & {
      readonly isSpeechFinal?: boolean;
      readonly isFromFinalize?: boolean;
    },
  ): object {
    const { origin, channel, parameters } = this.#options;
    return resultsMessage(origin, {
      ...{ isSpeechFinal: false, isFromFinalize: false, ...results },
      ...{ startAudioMs: this.#answeredMs, channel, channelCount: parameters.sessionCount },
    });
  }
}
