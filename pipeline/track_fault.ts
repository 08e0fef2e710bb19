/** Faults of a session's audio that end it, as errors for the client. */
import type { AudioFormat } from './audio.ts';
import type { TrackEvent } from './contracts.ts';
import { AudioError, InferenceError, type TranscriptionError } from './errors.ts';

type FatalFault = Exclude<Extract<TrackEvent, { type: 'fault' }>['code'], 'undecodable_packet'>;

export function faultError(code: FatalFault, { encoding }: AudioFormat): TranscriptionError {
  switch (code) {
    case 'unsupported_audio':
      return new AudioError(code, `the bytes are not ${encoding}: send what \`audio.encoding\` names`);
    case 'poison':
      return new InferenceError(code, 'audio of this session ended workers again and again');
    case 'internal':
      return new InferenceError(code, 'the audio of this session could not be processed', {
        retryable: true,
      });
  }
}
