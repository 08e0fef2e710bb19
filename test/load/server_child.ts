/** A server in a process of its own, so that what loads it does not slow it down. Ends with its parent. */
import { startRealServer } from '../support/real_server.ts';

const server = await startRealServer();
process.on('disconnect', () => {
  void server.close();
});
process.send?.({ url: server.url });
