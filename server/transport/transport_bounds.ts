/** The bounds a transport keeps, as one value, so that tests can break each of them quickly. */
import { systemClock, type Clock } from '../../pipeline/clock.ts';
import {
  CLOSE_MAX_MS,
  HTTP_BODIES_MAX_BYTES,
  HTTP_BODY_MAX_BYTES,
  HTTP_EXCHANGE_MAX_MS,
  HTTP_HEADERS_MAX_MS,
  KEEP_ALIVE_INTERVAL_MS,
  SEND_BUFFER_MAX_BYTES,
  TRANSPORT_MESSAGE_MAX_BYTES,
} from '../../pipeline/limits.ts';

/** Each is the limit of the same name. */
export interface TransportBounds {
  readonly messageMaxBytes: number;
  readonly sendBufferMaxBytes: number;
  readonly keepAliveIntervalMs: number;
  readonly closeMaxMs: number;
  readonly headersMaxMs: number;
  readonly exchangeMaxMs: number;
  readonly bodyMaxBytes: number;
  readonly bodiesMaxBytes: number;
}

/** What both transports are made with. */
export interface TransportOptions {
  readonly clock: Clock;
  readonly bounds: TransportBounds;
}

/** The bounds in force. */
export const TRANSPORT_OPTIONS: TransportOptions = {
  clock: systemClock,
  bounds: {
    messageMaxBytes: TRANSPORT_MESSAGE_MAX_BYTES,
    sendBufferMaxBytes: SEND_BUFFER_MAX_BYTES,
    keepAliveIntervalMs: KEEP_ALIVE_INTERVAL_MS,
    closeMaxMs: CLOSE_MAX_MS,
    headersMaxMs: HTTP_HEADERS_MAX_MS,
    exchangeMaxMs: HTTP_EXCHANGE_MAX_MS,
    bodyMaxBytes: HTTP_BODY_MAX_BYTES,
    bodiesMaxBytes: HTTP_BODIES_MAX_BYTES,
  },
};
