/** Asks the server why it does not open a WebSocket: browsers do not tell pages. */
import { STATUS_PATH, STREAM_PATH, type ServerStatus } from '../protocol.ts';
import type { Reach } from './status.ts';

const PROBE_MAX_MS = 4_000;

/** What is known of the server without a session. */
export interface Probe {
  readonly reach: Reach;
  readonly needsKey: boolean;
}

/** Never rejects. */
export async function probeServer(): Promise<Probe> {
  try {
    const answer = await fetch(STATUS_PATH, { cache: 'no-store', signal: AbortSignal.timeout(PROBE_MAX_MS) });
    const { status, needsKey } = (await answer.json()) as ServerStatus;
    return { reach: status === 'busy' ? 'busy' : 'reachable', needsKey };
  } catch {
    return { reach: 'unreachable', needsKey: false };
  }
}

/** Where this page's server takes audio. */
export function streamUrl(): string {
  const url = new URL(STREAM_PATH, location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}
