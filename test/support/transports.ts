/** The transports that can be run here: R-42 wants the same of both. */
import { findUws } from '../../server/transport/uws_module.ts';

export type TransportName = 'uws' | 'ws';

/** Both, or `ws` alone where the native binary of the other does not load. */
export function transportsHere(): readonly TransportName[] {
  return findUws().found ? ['uws', 'ws'] : ['ws'];
}
