/** One of several processes that generate load: `LoadOrder`s in, `LoadNews` out. It ends with its parent. */
import { systemClock } from '../../pipeline/clock.ts';
import { UsageError } from '../../pipeline/errors.ts';
import { materialOf, runPart, type LoadPart, type LoadProgress } from './load_part.ts';
import type { LoadRecord } from './session_record.ts';
import type { SpeechMaterial } from './speech_material.ts';

export type LoadOrder =
  | { readonly type: 'prepare'; readonly part: LoadPart }
  /** Begin at this time of day, in ms since 1970. */
  | { readonly type: 'begin'; readonly atEpochMs: number }
  | { readonly type: 'interrupt' };

export type LoadNews =
  | { readonly type: 'preparing'; readonly readyCount: number; readonly sentenceCount: number }
  | { readonly type: 'prepared' }
  | { readonly type: 'progress'; readonly progress: LoadProgress }
  | { readonly type: 'record'; readonly record: LoadRecord }
  /** `isUsage`: by what the command line asks for. */
  | { readonly type: 'failed'; readonly message: string; readonly isUsage: boolean };

const interruption = new AbortController();
let prepared: { readonly part: LoadPart; readonly material: SpeechMaterial } | undefined;

function tell(news: LoadNews): void {
  process.send?.(news);
}

async function prepare(part: LoadPart): Promise<void> {
  const onProgress = (readyCount: number, sentenceCount: number): void => {
    tell({ type: 'preparing', readyCount, sentenceCount });
  };
  prepared = { part, material: await materialOf(part.plan, { signal: interruption.signal, onProgress }) };
  tell({ type: 'prepared' });
}

async function begin(atEpochMs: number): Promise<void> {
  if (prepared === undefined) throw new Error('asked to begin before it was prepared');
  const record = await runPart(prepared.part, prepared.material, {
    clock: systemClock,
    originMs: atEpochMs - performance.timeOrigin,
    signal: interruption.signal,
    onProgress: (progress) => {
      tell({ type: 'progress', progress });
    },
  });
  tell({ type: 'record', record });
}

function obey(order: LoadOrder): void {
  if (order.type === 'interrupt') {
    interruption.abort();
    return;
  }
  const work = order.type === 'prepare' ? prepare(order.part) : begin(order.atEpochMs);
  work.catch((error: unknown) => {
    const message = error instanceof Error ? error.message : String(error);
    tell({ type: 'failed', message, isUsage: error instanceof UsageError });
  });
}

process.on('message', obey);
process.on('disconnect', () => process.exit(0));
// Ctrl-C reaches the whole group; the parent says what to do.
process.on('SIGINT', () => undefined);
