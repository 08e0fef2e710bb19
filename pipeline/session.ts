/**
 * One transcription, from `start` to closed: audio goes to the session's track, the track's events become
 * utterances, utterances become jobs, hypotheses become partials and finals. The session is the authority on what
 * was said to the client; workers may die under it.
 */
import { msToSamples, samplesToMs } from './audio.ts';
import type { AudioTrack } from './audio_pool.ts';
import { AudioSpan } from './audio_span.ts';
import type { Hypothesis, TrackEvent } from './contracts.ts';
import { DeliveryQueue } from './delivery_queue.ts';
import { LimitError, type TranscriptionError } from './errors.ts';
import { answerOf, clientFlush, STOP_FLUSH } from './flush_ids.ts';
import { InputMeter } from './input_meter.ts';
import {
  DRAIN_SPEECH_MAX_MS,
  FINAL_WAIT_MAX_MS,
  PACED_OWED_MAX_COUNT,
  PENDING_DELIVERY_MAX_COUNT,
  RECOGNISER_PCM_MIN_MS,
  SESSION_MAX_MS,
} from './limits.ts';
import type { PartialRequest, PartialSource } from './job_requests.ts';
import type { SessionEvent } from './session_events.ts';
import { audioStoppedAfterMs, expiryOf } from './session_expiry.ts';
import { contained } from './session_fault.ts';
import type { SessionOptions } from './session_options.ts';
import { SessionRecord } from './session_record.ts';
import type { DialectName } from './session_settings.ts';
import { judgeText } from './text_guard.ts';
import { faultError, overrunError } from './track_fault.ts';
import { Utterance } from './utterance.ts';
import { estimateWordTimes } from './word_times.ts';

type SessionState = 'open' | 'stopping' | 'closed';
type NoticeCode = Extract<SessionEvent, { type: 'notice' }>['code'];

const THROTTLED_TEXT = 'audio comes faster than real time; slow down or the session will be closed';

export class Session implements PartialSource {
  readonly id: string;
  readonly dialect: DialectName;
  readonly #options: SessionOptions;
  readonly #track: AudioTrack;
  readonly #record: SessionRecord;
  readonly #meter: InputMeter;
  /** The utterance in progress and, after its end, what was heard since. */
  readonly #audio = new AudioSpan(0);
  readonly #deliveries = new DeliveryQueue();
  readonly #openedAtMs: number;
  #state: SessionState = 'open';
  #nextUtteranceId: number;
  #speaking: Utterance | undefined;
  #heardAtMs: number;
  #audioAtMs: number;
  #toldAudioStopped = false;
  /** When the newest PCM came. */
  #pcmAtMs = 0;
  /** Flushes of the client that the audio path has not answered yet. */
  #flushCount = 0;
  #stoppedAtMs = 0;
  /** Set while the server drains. */
  #stopAtMs: number | undefined;
  #ackedAudioMs: number;
  #nextDeliveredId: number;

  constructor(options: SessionOptions) {
    this.id = options.id;
    this.#options = options;
    const { settings, clock } = options;
    const { format, endpointing } = settings;
    this.dialect = settings.dialect;
    this.#record = new SessionRecord(options);
    this.#nextUtteranceId = this.#nextDeliveredId = settings.firstUtteranceId;
    this.#ackedAudioMs = settings.originAudioMs;
    this.#openedAtMs = this.#heardAtMs = this.#audioAtMs = clock.nowMs();
    this.#meter = new InputMeter(format, this.#openedAtMs);
    this.#track = options.audioPool.open(
      { format, endpointing, originSamples: msToSamples(settings.originAudioMs) },
      contained(this, (event) => {
        this.#onTrackEvent(event);
      }),
    );
  }

  get state(): SessionState {
    return this.#state;
  }

  /** True while audio or a flush is on its way through the audio path: it may hold speech. */
  get hasInputOnItsWay(): boolean {
    return this.#track.isBehind;
  }

  /** Asked again after an event, for whoever heard it may have closed the session. */
  get #isClosed(): boolean {
    return this.#state === 'closed';
  }

  /**
   * One binary message of audio. The session owns `bytes` from here on, unless it is `full`, which only a paced one can
   * be: then nothing was taken, and the same is to be offered again a little later.
   */
  push(bytes: Uint8Array): 'accepted' | 'full' {
    if (this.#state !== 'open') return 'accepted';
    const { clock, settings } = this.#options;
    this.#heardAtMs = clock.nowMs();
    // Of paced audio no more is taken in than keeps the models busy: what waits would only hold others up.
    const hasRoom = !this.#track.isBehind && this.#deliveries.count < PACED_OWED_MAX_COUNT;
    if (settings.isPaced && !hasRoom) return 'full';
    this.#record.received(bytes.length);
    // An empty one is a sign of life of a muted client; not audio, so that it neither holds an utterance open nor is kept.
    if (bytes.length > 0) this.#take(bytes);
    return 'accepted';
  }

  get #decodedMs(): number {
    return samplesToMs(this.#track.decodedSamples) - this.#options.settings.originAudioMs;
  }

  #take(bytes: Uint8Array): void {
    this.#audioAtMs = this.#heardAtMs;
    this.#toldAudioStopped = false;
    const verdict = this.#options.settings.isPaced
      ? 'accepted'
      : this.#meter.judge(bytes, this.#heardAtMs, this.#decodedMs);
    if (verdict instanceof LimitError) {
      this.fail(verdict);
      return;
    }
    if (verdict === 'throttled') this.#notice('input_throttled', THROTTLED_TEXT);
    if (this.#track.push({ type: 'audio', bytes }) === 'full') {
      this.fail(overrunError(this.#meter.isAhead));
    }
  }

  /** Ends the utterance in progress; `flushed` with this id follows all finals of the audio before it. */
  flush(id: string): void {
    if (this.#state !== 'open') return;
    this.#heardAtMs = this.#options.clock.nowMs();
    this.#flushCount++;
    if (this.#flushCount + this.#deliveries.count > PENDING_DELIVERY_MAX_COUNT) {
      this.fail(new LimitError('too_fast', 'too many flushes wait for their answer; await each `flushed`'));
      return;
    }
    this.#track.push({ type: 'flush', id: clientFlush(id) });
  }

  /** No more audio: `done` follows the last final. */
  stop(): void {
    if (this.#state !== 'open') return;
    this.#state = 'stopping';
    this.#stoppedAtMs = this.#options.clock.nowMs();
    this.#record.mark('stopped');
    this.#track.push({ type: 'flush', id: STOP_FLUSH });
  }

  keepAlive(): void {
    this.#heardAtMs = this.#options.clock.nowMs();
  }

  /**
   * The session is to go on elsewhere: the server is going away, or it has lasted as long as one may. An utterance in
   * progress may come to its natural end for a while; then, or at once if nobody speaks, the session stops.
   */
  drain(): void {
    if (this.#state !== 'open' || this.#stopAtMs !== undefined) return;
    const deadlineMs = this.#speaking === undefined ? 0 : DRAIN_SPEECH_MAX_MS;
    this.#stopAtMs = this.#options.clock.nowMs() + deadlineMs;
    this.#options.onEvent({
      type: 'goAway',
      deadlineMs,
      ackedAudioMs: this.#ackedAudioMs,
      nextUtteranceId: this.#nextDeliveredId,
    });
    this.tick();
  }

  /** Ends the session without a word: the client has gone. Idempotent. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#record.mark('closed');
    this.#track.close();
    if (this.#speaking !== undefined) this.#options.scheduler.removeSource(this);
    this.#speaking = undefined;
    this.#deliveries.clear();
  }

  /** Ends the session with an error event. */
  fail(error: TranscriptionError): void {
    if (this.#state === 'closed') return;
    this.close();
    this.#options.onEvent({ type: 'failed', error });
  }

  /** The server stood still for so long, and could hear nobody: that time is not held against the client. */
  forgive(stalledMs: number): void {
    this.#heardAtMs += stalledMs;
    this.#audioAtMs += stalledMs;
    this.#stoppedAtMs += stalledMs;
    this.#meter.forgive(stalledMs);
  }

  /** Looks at the clock; called every TICK_INTERVAL_MS by whoever owns the sessions. */
  tick(): void {
    const nowMs = this.#options.clock.nowMs();
    const { settings } = this.#options;
    const { idleMaxMs, isPaced } = settings;
    const stoppedAtMs = this.#state === 'stopping' ? this.#stoppedAtMs : undefined;
    const expiry = expiryOf({ nowMs, idleMaxMs, heardAtMs: this.#heardAtMs, stoppedAtMs });
    const failure = expiry ?? (isPaced ? undefined : this.#meter.judgeDecoded(this.#decodedMs, nowMs));
    this.#giveUpOldest(nowMs);
    if (failure !== undefined) this.fail(failure);
    if (this.#state !== 'open') return;
    if (nowMs - this.#openedAtMs >= SESSION_MAX_MS && this.#stopAtMs === undefined) {
      this.drain();
    } else if (this.#stopAtMs !== undefined && (this.#speaking === undefined || nowMs >= this.#stopAtMs)) {
      this.stop();
    } else if (!this.#toldAudioStopped && nowMs - this.#audioAtMs > audioStoppedAfterMs(settings)) {
      this.#toldAudioStopped = true;
      this.#track.push({ type: 'audioStopped' });
    }
  }

  /** A final that no worker will compute must not hold back what follows it. */
  #giveUpOldest(nowMs: number): void {
    const utterance = this.#deliveries.awaited;
    if (utterance === undefined || nowMs - (utterance.end?.decidedAtMs ?? nowMs) < FINAL_WAIT_MAX_MS) return;
    utterance.settleFailed();
    this.#notice('utterance_failed', 'no final could be computed in time', utterance.id);
    this.#deliver();
  }

  /** Tells the client that partials stop or come back. */
  notePartialsSuspended(suspended: boolean): void {
    if (this.#state === 'closed' || !this.#options.settings.partials) return;
    if (suspended) this.#notice('partials_suspended', 'the server is busy: finals only for now');
    else this.#notice('partials_resumed', 'partials are back');
  }

  /** For the scheduler: the utterance in progress so far, if enough of it is new. */
  readonly takePartial = contained(this, (): PartialRequest | undefined => {
    const [utterance, pcmAtMs] = [this.#speaking, this.#pcmAtMs];
    const attempt = utterance?.beginAttempt(this.#audio.endSamples);
    if (utterance === undefined || attempt === undefined) return undefined;
    const { startSamples, draft, strikes } = utterance;
    this.#record.mark(attempt.isWhole ? 'earlyStarted' : 'partialStarted', utterance);
    const heard = contained(this, (hypothesis: Hypothesis) => {
      attempt.outcome = hypothesis;
      this.#record.mark('partialDone', utterance);
      utterance.draft = hypothesis.tokens;
      if (utterance !== this.#speaking) return this.#endAttempt(utterance);
      this.#showPartial(utterance, { hypothesis, endSamples: attempt.endSamples, pcmAtMs });
      return true;
    });
    return {
      audio: { pcm: this.#audio.slice(startSamples, attempt.endSamples), draft, strikes, sessionId: this.id },
      isWhole: attempt.isWhole,
      done: (hypothesis) => heard(hypothesis) ?? false,
      failed: contained(this, () => {
        attempt.outcome = 'failed';
        this.#record.mark('partialFailed', utterance);
        this.#endAttempt(utterance);
      }),
    };
  });

  /** A partial has come back; false if its utterance does not wait for it. */
  #endAttempt({ onAttemptEnd }: Utterance): boolean {
    if (this.#state === 'closed' || onAttemptEnd === undefined) return false;
    onAttemptEnd();
    return true;
  }

  #showPartial(
    utterance: Utterance,
    heard: { readonly hypothesis: Hypothesis; readonly endSamples: number; readonly pcmAtMs: number },
  ): void {
    // How much of it is speech is known at its end only; all of it is the most that can be.
    const longestSamples = heard.endSamples - utterance.startSamples;
    if (this.#record.judged(judgeText(heard.hypothesis, longestSamples)) !== undefined) return;
    const revision = utterance.transcript.revise(heard.hypothesis.text);
    if (revision === undefined) return;
    this.#record.partialSent(utterance, heard.pcmAtMs);
    this.#options.onEvent({
      type: 'partial',
      utteranceId: utterance.id,
      ...revision,
      startAudioMs: toMs(utterance.startSamples),
      endAudioMs: toMs(heard.endSamples),
    });
  }

  #onTrackEvent(event: TrackEvent): void {
    if (this.#state === 'closed') return;
    const { settings, onEvent } = this.#options;
    switch (event.type) {
      case 'pcm':
        this.#audio.append(event.startSamples, event.pcm);
        this.#pcmAtMs = this.#options.clock.nowMs();
        this.#notePause(event.likelyEndSamples);
        return;
      case 'speechStart':
        this.#beginUtterance(event);
        return;
      case 'speechEnd':
        this.#endUtterance(event);
        return;
      case 'fault':
        this.#onFault(event);
        return;
      case 'flushed': {
        const answer = answerOf(event);
        if (answer.type === 'flushed') {
          this.#flushCount--;
          if (settings.tellsCuts === true) onEvent({ type: 'cut', id: answer.id });
        }
        this.#deliveries.add(answer);
        this.#deliver();
      }
    }
  }

  /**
   * Early final: when nobody has spoken up to where the utterance would end, a partial of exactly that audio is run
   * at once. If the silence goes on, it is the final, and nobody waits for it.
   */
  #notePause(likelyEndSamples: number | undefined): void {
    const utterance = this.#speaking;
    if (utterance === undefined || utterance.likelyEndSamples === likelyEndSamples) return;
    const { scheduler } = this.#options;
    if (utterance.wasHeardToLikelyEnd) this.#record.earlyFinal('wasted');
    utterance.likelyEndSamples = likelyEndSamples;
    if (likelyEndSamples !== undefined) {
      this.#record.mark('pause', utterance);
      scheduler.hurry(this);
    } else scheduler.unhurry(this);
  }

  #beginUtterance({ startSamples, decidedAtSamples }: Extract<TrackEvent, { type: 'speechStart' }>): void {
    const utterance = new Utterance(this.#nextUtteranceId++, startSamples);
    this.#speaking = utterance;
    this.#record.speechStart(utterance, decidedAtSamples);
    this.#audio.dropBefore(startSamples);
    // Before the event, for whoever hears it may close the session.
    if (this.#options.settings.partials) this.#options.scheduler.addSource(this);
    this.#options.onEvent({ type: 'speechStart', utteranceId: utterance.id, audioMs: toMs(startSamples) });
  }

  #endUtterance(event: Extract<TrackEvent, { type: 'speechEnd' }>): void {
    const utterance = this.#speaking;
    if (utterance === undefined) return;
    const { scheduler, clock, onEvent } = this.#options;
    scheduler.removeSource(this);
    this.#speaking = undefined;
    utterance.end = { samples: event.endSamples, decidedAtMs: clock.nowMs(), reason: event.reason };
    this.#record.speechEnd(utterance, event);
    this.#deliveries.add({ type: 'utterance', utterance });
    if (this.#deliveries.count > PENDING_DELIVERY_MAX_COUNT) {
      this.fail(
        new LimitError('too_fast', 'too many utterances wait for their final; send audio in real time'),
      );
      return;
    }
    const { endSamples, reason } = event;
    onEvent({ type: 'speechEnd', utteranceId: utterance.id, audioMs: toMs(endSamples), reason });
    if (this.#isClosed) return;
    const pcm = this.#audio.slice(utterance.startSamples, event.endSamples);
    // The next utterance may reach back into what was heard since this one's end.
    this.#audio.dropBefore(event.endSamples);
    this.#audio.compact();
    this.#requestFinal(utterance, { pcm, speechSamples: event.speechSamples });
  }

  #requestFinal(
    utterance: Utterance,
    audio: { readonly pcm: Int16Array; readonly speechSamples: number },
  ): void {
    const { scheduler, clock, settings } = this.#options;
    if (samplesToMs(audio.pcm.length) < RECOGNISER_PCM_MIN_MS) {
      // A flush right after a sound began: too short to hold a word.
      utterance.settled = { text: '', outcome: 'empty' };
      this.#deliver();
      return;
    }
    const settle = contained(this, (hypothesis: Hypothesis) => {
      const reason = this.#record.judged(judgeText(hypothesis, audio.speechSamples));
      this.#record.mark('finalDone', utterance);
      utterance.settle(hypothesis, reason !== undefined);
      this.#deliver();
    });
    const early = utterance.earlyFinal;
    if (early === 'running') {
      utterance.onAttemptEnd = () => {
        this.#requestFinal(utterance, audio);
      };
      return;
    }
    if (early !== 'failed') {
      this.#record.earlyFinal('used');
      settle(early);
      return;
    }
    this.#record.mark('finalQueued', utterance);
    scheduler.submitFinal({
      audio: { pcm: audio.pcm, draft: utterance.draft, strikes: utterance.strikes, sessionId: this.id },
      deadlineAtMs: clock.nowMs() + settings.finalObjectiveMs,
      isWanted: () => this.#state !== 'closed' && utterance.settled === undefined,
      started: this.#record.marker('finalStarted', utterance),
      done: settle,
      failed: contained(this, (error: TranscriptionError) => {
        if (this.#state === 'closed' || utterance.settled !== undefined) return;
        this.#record.finalFailed(utterance);
        utterance.settleFailed();
        this.#notice('utterance_failed', `no final could be computed: ${error.message}`, utterance.id);
        this.#deliver();
      }),
    });
  }

  /** Sends what is owed, in order, up to the first utterance that still waits for its text. */
  #deliver(): void {
    if (this.#state === 'closed') {
      this.#record.stale();
      return;
    }
    for (let next = this.#deliveries.take(); next !== undefined; next = this.#deliveries.take()) {
      if (next.type === 'utterance') this.#sendFinal(next.utterance);
      else {
        if (next.type === 'done') this.close();
        this.#options.onEvent(next);
      }
    }
  }

  #sendFinal(utterance: Utterance): void {
    const { end, settled } = utterance;
    if (end === undefined || settled === undefined) return;
    const { onEvent, settings } = this.#options;
    const span = { startAudioMs: toMs(utterance.startSamples), endAudioMs: toMs(end.samples) };
    this.#record.finalSent(utterance, end, settled.outcome);
    this.#ackedAudioMs = span.endAudioMs;
    this.#nextDeliveredId = utterance.id + 1;
    onEvent({
      type: 'final',
      utteranceId: utterance.id,
      text: settled.text,
      ...span,
      words: settings.words ? estimateWordTimes(settled.text, span) : [],
      ackedAudioMs: span.endAudioMs,
    });
  }

  #onFault({ code, reason }: Extract<TrackEvent, { type: 'fault' }>): void {
    if (code === 'undecodable_packet') {
      this.#notice('packets_lost', 'an audio packet could not be decoded; it was concealed');
      return;
    }
    this.fail(faultError({ code, reason }, this.#options.settings.format));
  }

  #notice(code: NoticeCode, message: string, utteranceId?: number): void {
    if (this.#state === 'closed') return;
    this.#record.notice(code, utteranceId);
    const about = utteranceId === undefined ? {} : { utteranceId };
    this.#options.onEvent({ type: 'notice', code, message, ...about });
  }
}

function toMs(samples: number): number {
  return Math.round(samplesToMs(samples));
}
