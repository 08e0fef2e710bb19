/**
 * Decides which job runs next. Finals before early finals before partials; among finals the earliest deadline, but
 * later those whose utterance has cost workers; among the others the utterance that has waited longest, always with its
 * newest audio.
 * Nothing waits for a timer while a slot is free and something is due.
 */
import { samplesToMs } from './audio.ts';
import type { Cancel, Clock } from './clock.ts';
import type { Hypothesis } from './contracts.ts';
import { endedWorker, InferenceError, SharedDeathError, slotShareOf, TranscriptionError } from './errors.ts';
import type { InferencePool } from './inference_pool.ts';
import { FinalQueue, type QueuedFinal } from './final_queue.ts';
import { countHypothesis } from './inference_stats.ts';
import type { FinalRequest, PartialRequest, PartialSource } from './job_requests.ts';
import {
  FINAL_OBJECTIVE_MS,
  FINAL_QUEUE_MAX_COUNT,
  FINAL_WAIT_FULL_MS,
  PARTIAL_COST_WEIGHT_RATIO,
  PARTIAL_INTERVAL_MAX_MS,
  PARTIAL_RESUME_RATIO,
} from './limits.ts';
import { nextPartialMs, partialIntervalMs } from './partial_interval.ts';
import { PoisonMemory } from './poison_memory.ts';
import { Strikes } from './strikes.ts';
import type { Telemetry } from './telemetry.ts';

interface QueuedSource {
  readonly source: PartialSource;
  /** What its jobs are `partialOf`; that of no other. */
  readonly utterance: number;
  dueAtMs: number;
  /** Since when it wants an early final; Infinity: it wants none. */
  hurriedAtMs: number;
  /** What runs for it. */
  running: 'early' | 'partial' | undefined;
  /** Of its utterance, as told with its latest audio. */
  strikes: Strikes;
  /** Slot time of its latest partial; what the next one will roughly cost. */
  costMs: number;
}

/** A job for a source: an early final is a partial of what may be the whole utterance. */
interface SourceJob {
  readonly kind: 'early' | 'partial';
  readonly readyAtMs: number;
  readonly request: PartialRequest;
}

export interface SchedulerOptions {
  readonly pool: InferencePool;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** Shortest time between two partials of one utterance. */
  readonly partialIntervalMs: number;
  /** Partials were suspended for load, or came back. */
  readonly onPartialsSuspended: (suspended: boolean) => void;
  /** Default: one of its own. */
  readonly poisonMemory?: PoisonMemory;
}

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #finals = new FinalQueue();
  readonly #sources = new Map<PartialSource, QueuedSource>();
  readonly #poisonMemory: PoisonMemory;
  #nextJobId = 1;
  #nextUtterance = 1;
  #cancelWake: Cancel | undefined;
  #intervalMs: number;
  #isSuspended = false;
  /** Somebody else wants no partials for now. */
  #isHeld = false;
  readonly #slotMs = { final: 0, early: 0, partial: 0 };
  /** Sources that were removed while their early final ran, and when: an utterance waits for it. */
  readonly #awaited = new Map<QueuedSource, number>();
  /** Running mean over the latest partials: what the first one of an utterance is taken to cost. */
  #meanCostMs = 0;
  #isClosed = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#intervalMs = options.partialIntervalMs;
    this.#poisonMemory = options.poisonMemory ?? new PoisonMemory({ clock: options.clock });
  }

  /**
   * How long the final that has waited longest for its present try has waited, in ms; 0 if none waits. Early ones count,
   * those that an utterance which has ended waits for included. What a death costs its own final is no load
   * (`FinalQueue`).
   */
  get finalWaitMs(): number {
    return this.#ageMs(Math.min(this.#lateSinceMs, ...this.#awaited.values()));
  }

  get finalCount(): number {
    return this.#finals.count;
  }

  get partialCount(): number {
    let count = 0;
    const nowMs = this.#options.clock.nowMs();
    for (const queued of this.#sources.values())
      if (isAskable(queued) && !isHurried(queued) && queued.dueAtMs <= nowMs) count++;
    return count;
  }

  get earlyCount(): number {
    let count = 0;
    for (const queued of this.#sources.values()) if (isAskable(queued) && isHurried(queued)) count++;
    return count;
  }

  get partialsSuspended(): boolean {
    return this.#isSuspended;
  }

  /**
   * True when more sessions would make finals late: partials are already suspended, and finals wait even so; or
   * finals wait for long where there are no partials to suspend.
   */
  get isOverloaded(): boolean {
    return this.#ageMs(this.#lateSinceMs) > (this.#isSuspended ? FINAL_OBJECTIVE_MS : FINAL_WAIT_FULL_MS);
  }

  /** Time that jobs of each kind have held slots since the start; a job counts when it ends. */
  get slotMs(): Readonly<Record<'final' | 'early' | 'partial', number>> {
    return this.#slotMs;
  }

  /** Suspends partials whatever they cost, for a load that is measured elsewhere; or leaves it to their cost again. */
  holdPartials(isHeld: boolean): void {
    this.#isHeld = isHeld;
    this.#updateInterval();
    this.pump();
  }

  submitFinal(request: FinalRequest): void {
    if (this.#isClosed || this.#finals.count >= FINAL_QUEUE_MAX_COUNT) {
      request.failed(new InferenceError('unavailable', 'too many utterances wait for their final'));
      return;
    }
    if (this.#poisonMemory.judge(request.audio.pcm) === 'poison') {
      this.#refuse(request);
      return;
    }
    const strikes = request.audio.strikes ?? new Strikes();
    this.#finals.add({ request, queuedAtMs: this.#options.clock.nowMs(), strikes });
    this.pump();
  }

  addSource(source: PartialSource): void {
    // The first words are waited for most, and cost least.
    const dueAtMs = this.#options.clock.nowMs() + this.#intervalMs / 2;
    const strikes = new Strikes();
    const costMs = this.#meanCostMs;
    const idle = { utterance: this.#nextUtterance++, hurriedAtMs: Infinity, running: undefined };
    this.#sources.set(source, { source, dueAtMs, ...idle, strikes, costMs });
    this.#updateInterval();
    this.pump();
  }

  /**
   * The source wants an early final: what it has may be the whole of its utterance. That comes before all partials, and
   * also while they are suspended: most finals are computed so.
   */
  hurry(source: PartialSource): void {
    const queued = this.#sources.get(source);
    if (queued === undefined) return;
    queued.hurriedAtMs = Math.min(queued.hurriedAtMs, this.#options.clock.nowMs());
    this.pump();
  }

  /** Somebody speaks on: the source is one among the others again. */
  unhurry(source: PartialSource): void {
    const queued = this.#sources.get(source);
    if (queued !== undefined) queued.hurriedAtMs = Infinity;
  }

  /** The source is asked no more; what it has asked for is still answered. */
  removeSource(source: PartialSource): void {
    const queued = this.#sources.get(source);
    if (queued === undefined) return;
    this.#sources.delete(source);
    if (queued.running === 'early') this.#awaited.set(queued, this.#options.clock.nowMs());
    this.#updateInterval();
    this.pump();
  }

  /** Starts what can be started now; called whenever a slot may have become free. */
  pump(): void {
    if (this.#isClosed) return;
    for (const { request, strikes } of this.#finals.takePoison()) this.#condemn(request, strikes);
    while (this.#options.pool.freeCount > 0) {
      const final = this.#takeFinal();
      if (final !== undefined) {
        void this.#runFinal(final);
        continue;
      }
      if (!this.#startPartial()) break;
    }
    this.#armWake();
  }

  /** Fails what waits; nothing is started any more. */
  close(): void {
    this.#isClosed = true;
    this.#cancelWake?.();
    this.#sources.clear();
    for (const { request } of this.#finals.clear()) {
      request.failed(new InferenceError('unavailable', 'the server is shutting down'));
    }
  }

  #ageMs(sinceMs: number): number {
    return Math.max(0, this.#options.clock.nowMs() - sinceMs);
  }

  /** Since when the final, early or not, that has waited longest for a slot is late; Infinity if none waits. */
  get #lateSinceMs(): number {
    let sinceMs = this.#finals.lateSinceMs;
    for (const queued of this.#sources.values())
      if (isAskable(queued)) sinceMs = Math.min(sinceMs, queued.hurriedAtMs);
    return sinceMs;
  }

  /** The next final that may run. One whose utterance could cost a worker too many waits for its partial. */
  #takeFinal(): QueuedFinal | undefined {
    for (;;) {
      const { idleCount } = this.#options.pool;
      const final = this.#finals.take(
        ({ strikes }) => strikes.allowsFinal && (idleCount > 0 || !strikes.isSuspect),
      );
      if (final === undefined) return undefined;
      const { pcm } = final.request.audio;
      if (!final.request.isWanted()) this.#abandon(final.request);
      // The same audio may have become poison in another session while this one waited.
      else if (this.#poisonMemory.judge(pcm) === 'poison') this.#refuse(final.request);
      else return final;
    }
  }

  #abandon({ failed }: FinalRequest): void {
    this.#options.telemetry.count('jobs_total', { kind: 'final', outcome: 'aborted' });
    failed(new InferenceError('unavailable', 'nobody waits for it any more'));
  }

  #condemn(request: FinalRequest, strikes: Strikes): void {
    const { audio, failed } = request;
    this.#countLost(request);
    this.#poisonMemory.condemn(audio.pcm, strikes.deathCount);
    failed(new InferenceError('poison', 'workers ended on this audio; it is not tried again'));
  }

  #countLost({ isWanted }: FinalRequest): void {
    const outcome = isWanted() ? 'failed' : 'aborted';
    this.#options.telemetry.count('jobs_total', { kind: 'final', outcome });
  }

  #refuse({ failed }: FinalRequest): void {
    this.#options.telemetry.count('quarantine_refusals_total', { kind: 'final' });
    failed(new InferenceError('poison', 'workers ended on the same audio before; it is not tried again'));
  }

  async #runFinal(final: QueuedFinal): Promise<void> {
    const { clock, telemetry } = this.#options;
    const { pcm, draft, sessionId } = final.request.audio;
    const startedAtMs = clock.nowMs();
    telemetry.observe('queue_wait_seconds', { kind: 'final' }, (startedAtMs - final.queuedAtMs) / 1000);
    final.request.started?.();
    let hypothesis: Hypothesis;
    final.strikes.begin();
    try {
      const isAlone = final.strikes.isSuspect;
      hypothesis = await this.#options.pool.run({ jobId: this.#nextJobId++, pcm, draft, sessionId, isAlone });
    } catch (error) {
      this.#slotMs.final += (clock.nowMs() - startedAtMs) * slotShareOf(error);
      this.#noteDeath(final.strikes, pcm, error);
      this.#retryOrFail(final, error);
      this.pump();
      return;
    }
    final.strikes.end('survived');
    this.#poisonMemory.absolve(pcm);
    const tookMs = clock.nowMs() - startedAtMs;
    const slotMs = tookMs * (hypothesis.slotShare ?? 1);
    this.#slotMs.final += slotMs;
    countHypothesis(telemetry, { pcm, draft }, hypothesis);
    telemetry.count('jobs_total', { kind: 'final', outcome: 'done' });
    telemetry.observe('inference_seconds', { kind: 'final' }, tookMs / 1000);
    telemetry.observe('real_time_factor', {}, slotMs / samplesToMs(pcm.length));
    final.request.done(hypothesis);
    this.pump();
  }

  #retryOrFail(final: QueuedFinal, error: unknown): void {
    const { telemetry } = this.#options;
    if (final.strikes.isPoison) {
      this.#condemn(final.request, final.strikes);
      return;
    }
    if (error instanceof InferenceError && error.retryable && !this.#isClosed) {
      telemetry.count('jobs_total', { kind: 'final', outcome: 'retried' });
      this.#finals.add({ ...final, queuedAtMs: this.#options.clock.nowMs() });
      return;
    }
    this.#countLost(final.request);
    const failure =
      error instanceof TranscriptionError
        ? error
        : new InferenceError('internal', 'the job failed', { cause: error });
    final.request.failed(failure);
  }

  #noteDeath(strikes: Strikes, pcm: Int16Array, error: unknown): void {
    if (!endedWorker(error)) {
      strikes.end('survived');
    } else if (error instanceof SharedDeathError) {
      strikes.end('shared');
    } else if (this.#options.pool.isDisturbed) {
      strikes.end('excused');
    } else {
      strikes.end('charged');
      this.#poisonMemory.suspect(pcm);
    }
  }

  /** The source whose job is next: one in a hurry, else one whose partial is due; undefined if there is neither. */
  #nextSource(): QueuedSource | undefined {
    const { clock, pool } = this.#options;
    const [nowMs, hasIdleSlot] = [clock.nowMs(), pool.idleCount > 0];
    let next: QueuedSource | undefined;
    for (const queued of this.#sources.values()) {
      if (!isAskable(queued) || (queued.strikes.isSuspect && !hasIdleSlot)) continue;
      if (!isHurried(queued) && (this.#isSuspended || queued.dueAtMs > nowMs)) continue;
      if (next === undefined || comesBefore(queued, next)) next = queued;
    }
    return next;
  }

  /** Starts the next early final or partial; false if there is none. */
  #startPartial(): boolean {
    const nowMs = this.#options.clock.nowMs();
    const next = this.#nextSource();
    if (next === undefined) return false;
    const job = isHurried(next)
      ? ({ kind: 'early', readyAtMs: next.hurriedAtMs } as const)
      : ({ kind: 'partial', readyAtMs: next.dueAtMs } as const);
    next.hurriedAtMs = Infinity;
    const request = next.source.takePartial();
    if (request === undefined) {
      next.dueAtMs = nowMs + this.#intervalMs / 2;
      return true;
    }
    next.strikes = request.audio.strikes ?? next.strikes;
    if (this.#poisonMemory.judge(request.audio.pcm) === 'clean') {
      void this.#runPartial(next, { ...job, request });
    } else {
      next.dueAtMs = nowMs + this.#intervalMs;
      request.failed();
      this.#options.telemetry.count('quarantine_refusals_total', { kind: job.kind });
    }
    return true;
  }

  async #runPartial(queued: QueuedSource, { kind, readyAtMs, request }: SourceJob): Promise<void> {
    const { clock, telemetry, pool } = this.#options;
    const startedAtMs = clock.nowMs();
    telemetry.observe('queue_wait_seconds', { kind }, (startedAtMs - readyAtMs) / 1000);
    const { strikes } = queued;
    const { pcm, draft, sessionId } = request.audio;
    const partialOf = request.isWhole ? undefined : queued.utterance;
    queued.running = kind;
    strikes.begin();
    queued.dueAtMs = startedAtMs + this.#intervalMs;
    const job = { jobId: this.#nextJobId++, pcm, draft, sessionId, partialOf, isAlone: strikes.isSuspect };
    let lostShare = 1;
    const hypothesis = await pool.run(job).catch((error: unknown) => {
      // A partial is replaceable: the next one, with more audio, is its retry.
      telemetry.count('jobs_total', { kind, outcome: 'failed' });
      lostShare = slotShareOf(error);
      this.#noteDeath(strikes, pcm, error);
    });
    queued.running = undefined;
    this.#awaited.delete(queued);
    const tookMs = clock.nowMs() - startedAtMs;
    const slotMs = tookMs * (hypothesis === undefined ? lostShare : (hypothesis.slotShare ?? 1));
    this.#slotMs[kind] += slotMs;
    if (hypothesis !== undefined) {
      strikes.end('survived');
      // An early final is exact and costs more than the next partial will; but while there are none, it is all there is.
      if (kind === 'partial' || this.#isSuspended) this.#noteCost(queued, slotMs);
      queued.dueAtMs = startedAtMs + nextPartialMs({ intervalMs: this.#intervalMs, costMs: queued.costMs });
      countHypothesis(telemetry, { pcm, draft }, hypothesis);
      telemetry.observe('inference_seconds', { kind }, tookMs / 1000);
      if (kind === 'early') telemetry.observe('real_time_factor', {}, slotMs / samplesToMs(pcm.length));
      // The first words are waited for most: where there are none yet, the next look comes sooner.
      if (hypothesis.text === '') {
        queued.dueAtMs = Math.min(queued.dueAtMs, startedAtMs + this.#intervalMs / 2);
      }
      const isWanted = request.done(hypothesis);
      telemetry.count('jobs_total', { kind, outcome: isWanted ? 'done' : 'aborted' });
    } else {
      request.failed();
    }
    this.#updateInterval();
    this.pump();
  }

  #noteCost(queued: QueuedSource, costMs: number): void {
    queued.costMs = costMs;
    this.#meanCostMs +=
      this.#meanCostMs === 0 ? costMs : (costMs - this.#meanCostMs) * PARTIAL_COST_WEIGHT_RATIO;
  }

  #updateInterval(): void {
    let roundCostMs = 0;
    for (const queued of this.#sources.values()) roundCostMs += queued.costMs;
    const { pool, partialIntervalMs: baseMs, telemetry } = this.#options;
    // All workers gone is a matter of milliseconds or of health, not of load.
    if (pool.slotCount === 0) return;
    this.#intervalMs = partialIntervalMs({ baseMs, roundCostMs, slotCount: pool.slotCount });
    const threshold = this.#isSuspended
      ? PARTIAL_INTERVAL_MAX_MS * PARTIAL_RESUME_RATIO
      : PARTIAL_INTERVAL_MAX_MS;
    const isSuspended = this.#isHeld || this.#intervalMs > threshold;
    if (isSuspended === this.#isSuspended) return;
    this.#isSuspended = isSuspended;
    telemetry.set('partials_suspended', {}, isSuspended ? 1 : 0);
    this.#options.onPartialsSuspended(isSuspended);
  }

  #armWake(): void {
    this.#cancelWake?.();
    let dueAtMs = Infinity;
    for (const queued of this.#sources.values())
      if (isAskable(queued)) dueAtMs = Math.min(dueAtMs, queued.dueAtMs);
    if (dueAtMs === Infinity || this.#isSuspended || this.#options.pool.freeCount === 0) return;
    const delayMs = Math.max(0, dueAtMs - this.#options.clock.nowMs());
    this.#cancelWake = this.#options.clock.after(delayMs, () => {
      this.pump();
    });
  }
}

/** Audio that has ended a worker as a partial is not given another one; its final decides what becomes of it. */
function isAskable(queued: QueuedSource): boolean {
  return queued.running === undefined && queued.strikes.allowsPartial;
}

function isHurried({ hurriedAtMs }: QueuedSource): boolean {
  return hurriedAtMs < Infinity;
}

/** Those in a hurry before all others; among equals the one that has waited longest. */
function comesBefore(a: QueuedSource, b: QueuedSource): boolean {
  return a.hurriedAtMs === b.hurriedAtMs ? a.dueAtMs < b.dueAtMs : a.hurriedAtMs < b.hurriedAtMs;
}
