/** Sends recorded audio as if it were being spoken. */
import type { StreamClient } from '../../client/stream_client.ts';
import type { Clock } from '../../pipeline/clock.ts';
import { FILE_UNSENT_MAX_MS } from '../../pipeline/limits.ts';
import type { FileMessage } from './audio_file.ts';

/** How fast: audio seconds per second, above 0. */
export interface StreamPace {
  readonly speed: number;
  readonly clock: Clock;
}

/**
 * Sends each message when it would have been spoken, at this speed, or as soon after as the server takes it. Returns
 * when all were given to the client or the client has closed; rejects with a `StreamError` if it fails on the way.
 */
export async function streamMessages(
  client: StreamClient,
  messages: readonly FileMessage[],
  { speed, clock }: StreamPace,
): Promise<void> {
  const startedAtMs = clock.nowMs();
  let givenMs = 0;
  for (const { bytes, durationMs } of messages) {
    if (client.state.type === 'closed') return;
    const waitMs = startedAtMs + givenMs / speed - clock.nowMs();
    if (waitMs > 0) await pauseWhileOpen(client, waitMs, clock);
    if (client.unsentMs > FILE_UNSENT_MAX_MS) await client.drained();
    client.send(bytes, { durationMs });
    givenMs += durationMs;
  }
}

/** Ends early with the client: a clock's timer alone would not keep the process alive to hear of it. */
function pauseWhileOpen(client: StreamClient, waitMs: number, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      cancel();
      forget();
      resolve();
    };
    const cancel = clock.after(waitMs, end);
    const forget = client.on('state', ({ type }) => {
      if (type === 'closed') end();
    });
  });
}
