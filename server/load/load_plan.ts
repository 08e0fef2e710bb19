/** What a load test does: how many people speak when, in what form, and to whom. */
import type { LoadDialectName } from './load_dialects.ts';

/** Encodings that are sent: those that most clients use. */
export const LOAD_ENCODINGS = ['opus', 'pcm_s16le'] as const;
export type LoadEncoding = (typeof LOAD_ENCODINGS)[number];

/** The load goes to `sessionCount` within `rampMs`, evenly, and stays there for `holdMs`. */
export interface LoadStage {
  readonly sessionCount: number;
  readonly rampMs: number;
  readonly holdMs: number;
}

/** Everything that a load test is made of; plain data, for it goes to other processes. */
export interface LoadPlan {
  /** The server, such as `ws://127.0.0.1:8080`; a path replaces the dialect's own. */
  readonly url: string;
  /** API key or token. Goes into the request's head, and nowhere else. */
  readonly credential?: string;
  readonly dialect: LoadDialectName;
  readonly encoding: LoadEncoding;
  readonly stages: readonly LoadStage[];
  /** Share of the time in which each session speaks: above 0, at most 1. */
  readonly talkRatio: number;
  /** Folder with WAV files and `refs.tsv` (file, tab, text); without it sentences are made up and synthesised. */
  readonly speechDir?: string;
  readonly seed: number;
  /** Whether a session that was refused (429, 503) asks again when it was told to; else it is only counted. */
  readonly retriesRefusals: boolean;
  /** Processes that share the sessions; 1 means this one. */
  readonly processCount: number;
}

/** A session's place in time, in ms since the load began. */
export interface SessionSlot {
  readonly index: number;
  readonly beginAtMs: number;
  readonly endAtMs: number;
}

/** How long the stages take together. */
export function planDurationMs(stages: readonly LoadStage[]): number {
  return stages.reduce((sum, { rampMs, holdMs }) => sum + rampMs + holdMs, 0);
}

/** When each session begins and ends. Those that began last end first, where a stage has fewer than the one before. */
export function sessionSlots(stages: readonly LoadStage[]): SessionSlot[] {
  const slots: { readonly index: number; readonly beginAtMs: number; endAtMs: number }[] = [];
  const open: number[] = [];
  const endAtMs = planDurationMs(stages);
  let stageAtMs = 0;
  for (const { sessionCount, rampMs, holdMs } of stages) {
    const changeCount = Math.abs(sessionCount - open.length);
    for (let i = 0; i < changeCount; i++) {
      const atMs = stageAtMs + (rampMs * i) / changeCount;
      if (sessionCount > open.length) {
        open.push(slots.length);
        slots.push({ index: slots.length, beginAtMs: atMs, endAtMs });
      } else {
        const slot = slots[open.pop() ?? -1];
        if (slot !== undefined) slot.endAtMs = atMs;
      }
    }
    stageAtMs += rampMs + holdMs;
  }
  return slots;
}

/** Neither a query nor a user's name: there may be credentials in them. */
export function shownUrl(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`;
}
