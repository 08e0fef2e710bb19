/** Waiting for what a server does in its own time. */
import { setTimeout as pause } from 'node:timers/promises';

const ASK_EVERY_MS = 50;

/** Asks again and again until the answer is yes; returns the time that took in ms, or Infinity after `maxMs`. */
export async function timeUntil(
  maxMs: number,
  ask: () => Promise<boolean> | boolean,
  everyMs = ASK_EVERY_MS,
): Promise<number> {
  const startedAtMs = performance.now();
  while (performance.now() - startedAtMs < maxMs) {
    if (await ask()) return performance.now() - startedAtMs;
    await pause(everyMs);
  }
  return Infinity;
}

/** False while nobody answers there. */
export async function answersOk(url: string): Promise<boolean> {
  return fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
}
