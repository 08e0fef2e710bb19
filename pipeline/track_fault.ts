/** Faults of a session's audio that end it, as errors for the client. */
import type { AudioFormat } from './audio.ts';
import type { TrackEvent } from './contracts.ts';
import { AudioError, InferenceError, LimitError, OverloadError, type TranscriptionError } from './errors.ts';
import { REFUSALS, type Refusal } from './refusal.ts';

type TrackFault = Extract<TrackEvent, { type: 'fault' }>;
export interface FatalFault {
  readonly code: Exclude<TrackFault['code'], 'undecodable_packet'>;
  readonly reason: Refusal | undefined;
}

export function faultError({ code, reason }: FatalFault, format: AudioFormat): TranscriptionError {
  switch (code) {
    case 'unsupported_audio':
      return refusalError(reason ?? 'mismatch', format);
    case 'poison':
      return new InferenceError(code, 'audio of this session ended workers again and again');
    case 'internal':
      return new InferenceError(code, 'the audio of this session could not be processed', {
        retryable: true,
      });
  }
}

/** More audio waits for its worker than is kept: the client's doing if it is far ahead of real time, else ours. */
export function overrunError(isAhead: boolean): TranscriptionError {
  if (isAhead)
    return new LimitError('too_fast', 'audio comes faster than it can be decoded; send it in real time');
  const what = 'the server has fallen behind; connect again and resume';
  return new OverloadError('overloaded', what, { retryable: true });
}

function refusalError(reason: Refusal, { encoding }: AudioFormat): TranscriptionError {
  if (reason === 'too_fast') return new LimitError('too_fast', REFUSALS.too_fast);
  const what = encoding === 'auto' ? 'the audio cannot be read' : `the bytes are not ${encoding}`;
  const hint =
    encoding === 'auto' || reason !== 'mismatch' ? REFUSALS[reason] : 'send what `audio.encoding` names';
  return new AudioError('unsupported_audio', `${what}: ${hint}`);
}
