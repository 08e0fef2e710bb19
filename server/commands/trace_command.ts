/** `earwitness trace [SESSION]`: asks a running server for the time line of a session. */
import { TranscriptionError } from '../../pipeline/errors.ts';
import { ADMIN_REQUEST_MAX_MS } from '../../pipeline/limits.ts';
import type { Output } from './models_command.ts';
import type { SessionSummary, TraceReport } from '../records/session_chronicle.ts';
import { findById } from './short_id.ts';
import { renderSessions, renderTrace } from './trace_view.ts';

export interface TraceCommandOptions {
  /** Of the server's admin port, such as `http://127.0.0.1:9464`. */
  readonly adminUrl: string;
  readonly json: boolean;
  readonly stdout: Output;
}

/** Prints the sessions that the server knows, or one of them; an id may be shortened. Returns the exit status. */
export async function traceSession(
  sessionId: string | undefined,
  options: TraceCommandOptions,
): Promise<number> {
  const { adminUrl, json, stdout } = options;
  const sessions = (await ask(adminUrl, '/trace')) as readonly SessionSummary[];
  if (sessionId === undefined) {
    stdout.write(json ? `${JSON.stringify(sessions, null, 2)}\n` : renderSessions(sessions));
    return 0;
  }
  const { id } = findById(
    sessionId,
    sessions.map((session) => ({ id: session.sessionId })),
    { noun: 'session', place: `at ${adminUrl}`, command: 'earwitness trace' },
  );
  const report = (await ask(adminUrl, `/trace/${id}`)) as TraceReport;
  stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : renderTrace(report));
  return 0;
}

async function ask(adminUrl: string, path: string): Promise<unknown> {
  try {
    const answer = await fetch(`${adminUrl}${path}`, { signal: AbortSignal.timeout(ADMIN_REQUEST_MAX_MS) });
    if (!answer.ok) throw new Error(`it answered ${answer.status}`);
    return await answer.json();
  } catch (cause) {
    const reason = cause instanceof Error ? describe(cause) : String(cause);
    throw new TranscriptionError('unavailable', `no trace could be had from ${adminUrl}: ${reason}`, {
      cause,
    });
  }
}

/** What fetch says is only that it failed; why is in its cause. */
function describe({ message, cause }: Error): string {
  return cause instanceof Error && cause.message !== '' ? cause.message : message;
}
