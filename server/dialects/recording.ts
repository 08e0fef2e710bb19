/** A recorded file as one session like any other: given to it as fast as it is taken, and heard to its end. */
import type { Cancel } from '../../pipeline/clock.ts';
import { LimitError, ProtocolError, OverloadError } from '../../pipeline/errors.ts';
import {
  RECORDED_FINAL_OBJECTIVE_MS,
  RECORDED_MAX_MS,
  RECORDED_PIECE_BYTES,
  SESSION_MAX_MS,
} from '../../pipeline/limits.ts';
import type { FinalEvent } from '../../pipeline/session_events.ts';
import type { SessionSettings } from '../../pipeline/session_settings.ts';
import { slicesOf } from './audio_slices.ts';
import type { DialectParts } from './dialect.ts';
import { PacedInput } from './paced_input.ts';

/** A file as it was sent, and how it is to be heard. */
export interface Recording extends Pick<SessionSettings, 'dialect' | 'format' | 'endpointing' | 'words'> {
  readonly bytes: Uint8Array;
  /** Aborted once nobody waits for its text any more. */
  readonly ended: AbortSignal;
}

/** All that was said in it. */
export interface HeardRecording {
  readonly durationMs: number;
  /** Those with words, in order. */
  readonly finals: readonly FinalEvent[];
}

/**
 * Transcribes a file. Rejects with a `TranscriptionError`: `bad_settings` for one that is no file, `unsupported_audio`,
 * `overloaded`, `message_too_large` if it cannot be heard within RECORDED_MAX_MS; and with the reason of `ended`.
 */
export async function hearRecording(
  recording: Recording,
  { registry, clock }: Pick<DialectParts, 'registry' | 'clock'>,
): Promise<HeardRecording> {
  const { bytes, ended, ...audio } = recording;
  ended.throwIfAborted();
  if (bytes.length === 0) throw new ProtocolError('bad_settings', 'send the file as the body');
  if (audio.format.encoding === 'opus') {
    throw new ProtocolError('bad_settings', 'Opus packets need a container to be a file: Ogg or WebM');
  }
  const settings: SessionSettings = {
    ...{ ...audio, partials: false, originAudioMs: 0, firstUtteranceId: 1 },
    ...{ idleMaxMs: SESSION_MAX_MS, finalObjectiveMs: RECORDED_FINAL_OBJECTIVE_MS, isPaced: true },
  };
  const input = new PacedInput(clock);
  let cancelDeadline: Cancel | undefined;
  try {
    return await new Promise<HeardRecording>((resolve, reject) => {
      const finals: FinalEvent[] = [];
      const session = registry.open(settings, (event) => {
        if (event.type === 'final' && event.text !== '') finals.push(event);
        else if (event.type === 'done') resolve({ durationMs: event.audioMs, finals });
        else if (event.type === 'failed') reject(event.error);
        else if (event.type === 'goAway') {
          // What comes after it would not be heard.
          registry.abandon(session, 'failed');
          reject(
            new OverloadError('draining', 'the server is shutting down; send the file again', {
              retryable: true,
            }),
          );
        }
      });
      cancelDeadline = clock.after(RECORDED_MAX_MS, () => {
        registry.abandon(session, 'failed');
        const what = `a file must be heard within ${RECORDED_MAX_MS / 1_000} s; send it in parts, or over a WebSocket`;
        reject(new LimitError('message_too_large', what));
      });
      ended.addEventListener('abort', () => {
        registry.abandon(session, 'abandoned');
        reject(ended.reason as Error);
      });
      for (const piece of slicesOf(bytes, RECORDED_PIECE_BYTES)) input.push(() => session.push(piece));
      input.push(() => {
        session.stop();
        return 'accepted';
      });
    });
  } finally {
    cancelDeadline?.();
    input.close();
  }
}
