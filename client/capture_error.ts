/** Why there is no audio from a microphone. */
export type CaptureErrorCode =
  | 'permission_denied'
  | 'no_microphone'
  | 'microphone_busy'
  | 'microphone_lost'
  | 'not_supported'
  | 'insecure_page'
  | 'capture_failed';

const MESSAGES: Readonly<Record<CaptureErrorCode, string>> = {
  permission_denied: 'the microphone may not be used: the person or the browser said no',
  no_microphone: 'there is no microphone, or not the one that was chosen',
  microphone_busy: 'the microphone cannot be opened: another program may be using it',
  microphone_lost: 'the microphone was unplugged or taken away',
  not_supported: 'this browser cannot capture audio in the way that is needed',
  insecure_page: 'browsers give pages a microphone only over https or on localhost',
  capture_failed: 'capturing audio failed',
};

/** What `getUserMedia` says, by name (Media Capture and Streams, section 10.2). */
const CODES: Readonly<Record<string, CaptureErrorCode>> = {
  NotAllowedError: 'permission_denied',
  SecurityError: 'permission_denied',
  NotFoundError: 'no_microphone',
  OverconstrainedError: 'no_microphone',
  NotReadableError: 'microphone_busy',
  AbortError: 'microphone_busy',
};

export class CaptureError extends Error {
  readonly code: CaptureErrorCode;

  constructor(code: CaptureErrorCode, options?: ErrorOptions) {
    super(MESSAGES[code], options);
    this.name = 'CaptureError';
    this.code = code;
  }
}

/** The error that a browser's own one stands for. */
export function captureErrorOf(cause: unknown): CaptureError {
  if (cause instanceof CaptureError) return cause;
  const name = cause instanceof Error ? cause.name : '';
  return new CaptureError(CODES[name] ?? 'capture_failed', { cause });
}
