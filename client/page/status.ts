/** What the page says of its state, in words. Pure. */
import type { CaptureErrorCode } from '../capture_error.ts';

/** Where a recording is in its life. */
export type Phase =
  | { readonly type: 'idle' }
  /** The browser asks the person, or opens the microphone or a file. */
  | { readonly type: 'opening' }
  | { readonly type: 'connecting' }
  | { readonly type: 'live' }
  | { readonly type: 'paused' }
  /** There is no connection; what is said meanwhile is kept. */
  | { readonly type: 'reconnecting'; readonly reach: Reach }
  | { readonly type: 'finishing' };

/** Why there is no connection, as far as a request tells: the server is full, does not answer, or would be there. */
export type Reach = 'unknown' | 'busy' | 'unreachable' | 'reachable';

export interface Status {
  readonly tone: 'quiet' | 'live' | 'waiting';
  readonly text: string;
  /** A sentence more, where it helps. */
  readonly detail?: string;
}

/** Something that ended or prevented a recording. */
export interface Trouble {
  readonly title: string;
  readonly advice: string;
}

const KEPT = 'What you say is kept and sent when it is back.';

export function statusOf(phase: Phase): Status {
  switch (phase.type) {
    case 'idle':
      return { tone: 'quiet', text: 'Ready' };
    case 'opening':
      return { tone: 'waiting', text: 'Opening' };
    case 'connecting':
      return { tone: 'waiting', text: 'Connecting' };
    case 'live':
      return { tone: 'live', text: 'Listening' };
    case 'paused':
      return { tone: 'quiet', text: 'Paused' };
    case 'finishing':
      return { tone: 'waiting', text: 'Finishing' };
    case 'reconnecting':
      return { tone: 'waiting', ...reachText(phase.reach) };
  }
}

function reachText(reach: Reach): { text: string; detail: string } {
  switch (reach) {
    case 'busy':
      return {
        text: 'Server busy',
        detail: `The server is full and lets you in when there is room. ${KEPT}`,
      };
    case 'unreachable':
      return { text: 'Offline', detail: `The server cannot be reached. ${KEPT}` };
    case 'unknown':
    case 'reachable':
      return { text: 'Reconnecting', detail: `The connection was lost. ${KEPT}` };
  }
}

const CAPTURE_TROUBLES: Readonly<Record<CaptureErrorCode, Trouble>> = {
  permission_denied: {
    title: 'The microphone is not allowed',
    advice: 'Allow it for this page in the browser’s address bar, then start again.',
  },
  no_microphone: {
    title: 'No microphone was found',
    advice: 'Plug one in or choose another in the settings. A recording works too: drop an audio file here.',
  },
  microphone_busy: {
    title: 'The microphone cannot be opened',
    advice: 'Another program may be using it. Close that, or choose another microphone.',
  },
  microphone_lost: {
    title: 'The microphone has gone',
    advice: 'What was heard is kept. Plug it in again, or choose another, and start again.',
  },
  not_supported: {
    title: 'This browser cannot capture audio that way',
    advice: 'Choose another way of capture in the settings, or use a newer browser.',
  },
  insecure_page: {
    title: 'The microphone needs a secure page',
    advice: 'Browsers give it only to pages over https, or on localhost. Files and the sample work here too.',
  },
  capture_failed: {
    title: 'The microphone stopped working',
    advice: 'What was heard is kept. Start again, or choose another way of capture in the settings.',
  },
};

/** What a `CaptureError` means for the person. */
export function captureTrouble(code: CaptureErrorCode): Trouble {
  return CAPTURE_TROUBLES[code];
}

/** What the end of a session means for the person, by the code of its `StreamError`. */
export function sessionTrouble(code: string, reach: Reach): Trouble {
  switch (code) {
    case 'unauthorized':
      return {
        title: 'The key was not accepted',
        advice: 'Check it, or ask for another one, and try again.',
      };
    case 'forbidden':
      return {
        title: 'This page may not use the server',
        advice: 'Whoever runs it can add the address of this page to allowedOrigins.',
      };
    case 'connection_lost':
    case 'overloaded':
    case 'unavailable':
    case 'rate_limited':
    case 'shed':
    case 'draining':
      return reach === 'unreachable'
        ? { title: 'The server cannot be reached', advice: 'Check that it runs and that you are online.' }
        : { title: 'The server has no room', advice: 'Too many people are using it. Try again in a minute.' };
    default:
      return { title: 'The recording has ended', advice: `The server said: ${code}. Start again to go on.` };
  }
}
