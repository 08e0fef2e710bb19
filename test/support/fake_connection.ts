/** A WebSocket that remembers what it was sent, and whose client reads or does not as the test says. */
import type { ServerMessage } from '../../client/protocol.ts';
import type { Connection } from '../../server/transport/transport.ts';

export class FakeConnection implements Connection {
  readonly remoteAddress = '192.0.2.1';
  readonly bufferedBytes = 0;
  readonly messages: ServerMessage[] = [];
  readonly closes: { readonly code: number; readonly reason: string }[] = [];
  /** Set: the client does not read, and nothing more is taken. */
  isFull = false;

  sendText(text: string): 'sent' | 'full' | 'closed' {
    if (this.closes.length > 0) return 'closed';
    if (this.isFull) return 'full';
    this.messages.push(JSON.parse(text) as ServerMessage);
    return 'sent';
  }

  close(code: number, reason: string): void {
    this.closes.push({ code, reason });
  }

  terminate(): void {
    this.closes.push({ code: 1006, reason: '' });
  }

  get types(): readonly string[] {
    return this.messages.map(({ type }) => type);
  }
}
