/** Text frames that are JSON. */
import { LimitError, ProtocolError } from '../../pipeline/errors.ts';
import { CONTROL_MESSAGE_MAX_BYTES } from '../../pipeline/limits.ts';

/** The JSON of a control message. Throws `LimitError` (`message_too_large`) and `ProtocolError` (`bad_message`). */
export function readControlText(text: string): unknown {
  if (Buffer.byteLength(text) > CONTROL_MESSAGE_MAX_BYTES) {
    const what = `a control message has at most ${CONTROL_MESSAGE_MAX_BYTES} bytes`;
    throw new LimitError('message_too_large', what);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ProtocolError('bad_message', 'a text frame must be one JSON object', { cause });
  }
}
