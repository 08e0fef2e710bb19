/** Runs a load test: in this process, or shared by several. */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { systemClock, type Clock } from '../../pipeline/clock.ts';
import { InferenceError, UsageError } from '../../pipeline/errors.ts';
import { LOAD_BEGIN_DELAY_MS } from '../../pipeline/limits.ts';
import { materialOf, runPart, type LoadPart, type LoadProgress } from './load_part.ts';
import type { LoadPlan } from './load_plan.ts';
import type { LoadNews, LoadOrder } from './load_process_main.ts';
import { reportLoad, type LoadReport } from './load_report.ts';
import type { LoadRecord } from './session_record.ts';

export interface LoadOptions {
  /** Aborted: the load stops, and the report is of what was done until then. */
  readonly signal?: AbortSignal;
  /** What is going on, a few times a second. */
  readonly onProgress?: (progress: LoadProgress) => void;
  /** How much of the speech is there, before the load begins. */
  readonly onPreparing?: (readyCount: number, sentenceCount: number) => void;
  readonly clock?: Clock;
}

type KnownOptions = Required<LoadOptions>;

/** Runs a load test and judges what was heard. Throws `UsageError` if its speech cannot be had. */
export async function runLoad(plan: LoadPlan, options: LoadOptions = {}): Promise<LoadReport> {
  const known: KnownOptions = {
    signal: new AbortController().signal,
    onProgress: () => undefined,
    onPreparing: () => undefined,
    clock: systemClock,
    ...options,
  };
  const { signal } = known;
  const records = plan.processCount === 1 ? [await runHere(plan, known)] : await runInProcesses(plan, known);
  return reportLoad(plan, records, { wasInterrupted: signal.aborted });
}

async function runHere(plan: LoadPlan, options: KnownOptions): Promise<LoadRecord> {
  const { signal, clock, onPreparing, onProgress } = options;
  const material = await materialOf(plan, { signal, onProgress: onPreparing });
  const run = { clock, originMs: clock.nowMs(), signal, onProgress };
  return runPart({ plan, remainder: 0 }, material, run);
}

async function runInProcesses(plan: LoadPlan, options: KnownOptions): Promise<LoadRecord[]> {
  const { signal, onPreparing, onProgress } = options;
  const parts = Array.from({ length: plan.processCount }, (_, remainder) => ({ plan, remainder }));
  const latest = new Map<number, LoadProgress>();
  // The first speaks; the others find on disk what was synthesised.
  const processes = parts.map(
    (part) =>
      new LoadProcess(part, {
        onPreparing: part.remainder === 0 ? onPreparing : () => undefined,
        onProgress: (progress) => {
          latest.set(part.remainder, progress);
          if (latest.size === parts.length) onProgress(sumOf([...latest.values()]));
        },
      }),
  );
  const interrupt = (): void => {
    for (const child of processes) child.interrupt();
  };
  signal.addEventListener('abort', interrupt);
  if (signal.aborted) interrupt();
  try {
    await processes[0]?.prepare();
    await Promise.all(processes.slice(1).map((child) => child.prepare()));
    const atEpochMs = performance.timeOrigin + performance.now() + LOAD_BEGIN_DELAY_MS;
    return await Promise.all(processes.map((child) => child.run(atEpochMs)));
  } finally {
    signal.removeEventListener('abort', interrupt);
    for (const child of processes) child.close();
  }
}

function sumOf(parts: readonly LoadProgress[]): LoadProgress {
  const sum = (key: keyof LoadProgress): number => parts.reduce((total, part) => total + part[key], 0);
  return {
    elapsedMs: Math.max(...parts.map(({ elapsedMs }) => elapsedMs)),
    openCount: sum('openCount'),
    refusedCount: sum('refusedCount'),
    failedCount: sum('failedCount'),
    finalCount: sum('finalCount'),
  };
}

interface ProcessListener {
  readonly onPreparing: (readyCount: number, sentenceCount: number) => void;
  readonly onProgress: (progress: LoadProgress) => void;
}

/** One of the processes, as its parent sees it. */
class LoadProcess {
  readonly #child: ChildProcess;
  readonly #part: LoadPart;
  readonly #listener: ProcessListener;
  /** Whoever waits for the next answer. */
  #answered:
    { readonly resolve: (news: LoadNews) => void; readonly reject: (error: Error) => void } | undefined;
  #end: InferenceError | undefined;

  constructor(part: LoadPart, listener: ProcessListener) {
    this.#part = part;
    this.#listener = listener;
    this.#child = fork(fileURLToPath(new URL('load_process_main.js', import.meta.url)), {
      serialization: 'advanced',
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    this.#child.on('message', (news: LoadNews) => {
      this.#onNews(news);
    });
    this.#child.on('exit', (code, signal) => {
      this.#onEnd(signal ?? `status ${code ?? 0}`);
    });
    this.#child.on('error', ({ message }) => {
      this.#onEnd(message);
    });
  }

  async prepare(): Promise<void> {
    await this.#ask({ type: 'prepare', part: this.#part });
  }

  async run(atEpochMs: number): Promise<LoadRecord> {
    const news = await this.#ask({ type: 'begin', atEpochMs });
    if (news.type !== 'record') throw new InferenceError('internal', `a load process answered ${news.type}`);
    return news.record;
  }

  interrupt(): void {
    if (this.#child.connected) this.#child.send({ type: 'interrupt' } satisfies LoadOrder);
  }

  close(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  #ask(order: LoadOrder): Promise<LoadNews> {
    return new Promise((resolve, reject) => {
      this.#answered = { resolve, reject };
      if (this.#end === undefined) this.#child.send(order);
      else reject(this.#end);
    });
  }

  /** It may end while nobody waits for it: whoever asks next is told. */
  #onEnd(how: string): void {
    this.#end ??= new InferenceError('worker_died', `a process that generates load ended: ${how}`);
    this.#answered?.reject(this.#end);
  }

  #onNews(news: LoadNews): void {
    switch (news.type) {
      case 'preparing':
        this.#listener.onPreparing(news.readyCount, news.sentenceCount);
        return;
      case 'progress':
        this.#listener.onProgress(news.progress);
        return;
      case 'failed':
        this.#answered?.reject(
          news.isUsage ? new UsageError(news.message) : new InferenceError('internal', news.message),
        );
        return;
      case 'prepared':
      case 'record':
        this.#answered?.resolve(news);
    }
  }
}
