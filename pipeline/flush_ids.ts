/** Flushes of clients and our own share one stream of ids through the audio path; here they are told apart. */
import { samplesToMs } from './audio.ts';
import type { TrackEvent } from './contracts.ts';
import type { SessionEvent } from './session_events.ts';

const CLIENT_FLUSH = 'client:';

/** Of the flush that ends a session. */
export const STOP_FLUSH = 'stop';

/** Of a flush that the client calls `id`. */
export function clientFlush(id: string): string {
  return CLIENT_FLUSH + id;
}

/** What the client is owed when the audio path has answered a flush. */
export function answerOf(
  event: Extract<TrackEvent, { type: 'flushed' }>,
): Extract<SessionEvent, { type: 'flushed' | 'done' }> {
  const audioMs = Math.round(samplesToMs(event.atSamples));
  if (event.id === STOP_FLUSH) return { type: 'done', audioMs };
  return { type: 'flushed', id: event.id.slice(CLIENT_FLUSH.length), audioMs };
}
