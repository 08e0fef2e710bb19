/** Ports for servers that have to be found again where they were, or that cannot say where they are. */
import { createServer } from 'node:net';

/**
 * A port that nobody listens on, below those that systems hand out: while a server is down, a client that connects
 * must not be given its port as its own.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => {
        resolve(false);
      });
      server.listen(port, '127.0.0.1', () => {
        server.close(() => {
          resolve(true);
        });
      });
    });
    if (isFree) return port;
  }
}
