/** The server as the clients of the simulation meet it. */
import type { StartMessage } from '../../client/protocol.ts';
import { NativeDialect, type NativeDialectOptions } from '../../server/dialects/native_dialect.ts';
import type { ClientScript } from './client_script.ts';
import type { Dice } from './dice.ts';
import type { TrackOwner } from './observed_parts.ts';
import type { Accuse } from './scripted_audio.ts';
import type { SimClock } from './sim_clock.ts';
import type { SimConnection } from './sim_connection.ts';
import type { Trace } from './trace.ts';

export interface SimServer {
  readonly dialect: NativeDialectOptions;
  /** Why nobody can be let in, if nobody can. */
  readonly refusal: () => string | undefined;
  /** Whatever `act` makes the server do is done for this client. */
  readonly onBehalf: (owner: TrackOwner, act: () => void) => void;
}

/** What a client of either kind is made of. */
export interface SimClientOptions extends SimServer {
  readonly script: ClientScript;
  readonly clock: SimClock;
  readonly dice: Dice;
  readonly trace: Trace;
  readonly accuse: Accuse;
}

/** Puts the server at the other end of a connection: all it does for it, it does on the owner's behalf. */
export function serve(
  connection: SimConnection,
  { dialect, onBehalf }: SimServer,
  client: {
    readonly owner: TrackOwner;
    /** Of one that sends its settings in the query. */
    readonly start?: StartMessage | undefined;
    readonly onClosed?: (code: number) => void;
  },
): void {
  const { owner, start, onClosed } = client;
  onBehalf(owner, () => {
    const listener = new NativeDialect(connection, dialect, start);
    connection.listen({
      text: (message) => {
        onBehalf(owner, () => {
          listener.text(message);
        });
      },
      binary: (message) => {
        onBehalf(owner, () => {
          listener.binary(message);
        });
      },
      drained: () => {
        listener.drained();
      },
      closed: (code) => {
        onClosed?.(code);
        listener.closed();
      },
    });
  });
}
