/** A worker that sends back what it is sent, for the contract suite of worker launchers. */
import type { ControlRequest } from '../../pipeline/worker_process.ts';

/** What an echo worker understands beside control messages. */
export type EchoRequest =
  | { readonly type: 'echo'; readonly text: string; readonly pcm?: Int16Array }
  /** Writes so many bytes to stderr, then `text`, and exits with `code`. */
  | { readonly type: 'die'; readonly code: number; readonly noiseBytes: number; readonly text: string };
export type EchoReply = Extract<EchoRequest, { readonly type: 'echo' }>;

process.on('message', (message: EchoRequest | ControlRequest) => {
  switch (message.type) {
    case 'echo':
      process.send?.(message);
      return;
    case 'die':
      process.stderr.write('.'.repeat(message.noiseBytes) + message.text);
      // Not `process.exit`: what was written must have gone out.
      process.exitCode = message.code;
      process.disconnect();
      return;
    case 'ping':
      process.send?.({ type: 'pong', rssBytes: process.memoryUsage.rss(), cpuMs: 1 });
      return;
    case 'stop':
      process.disconnect();
  }
});
process.send?.({ type: 'ready', detail: 'echo' });
