/** A network that a test can cut: a TCP proxy in front of a server. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export class CuttableProxy {
  readonly #server = createServer((client) => {
    this.#onClient(client);
  });
  readonly #sockets = new Set<Socket>();
  #targetPort = 0;
  #isCut = false;

  /** `http://host:port` that a browser goes to. */
  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Where connections go on to from here on. */
  forwardTo(url: string): void {
    this.#targetPort = Number(new URL(url).port);
  }

  /** Resets every connection, and from here on each new one, until `mend`. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  mend(): void {
    this.#isCut = false;
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #onClient(client: Socket): void {
    if (this.#isCut) {
      client.resetAndDestroy();
      return;
    }
    const target = connect(this.#targetPort, '127.0.0.1');
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.pipe(other);
      socket.on('error', () => other.destroy());
      socket.once('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
  }
}
