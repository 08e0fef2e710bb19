/** A server in a process of its own, so that its memory and its descriptors are its own. Ends with its parent. */
import { startDigestServer } from './digest_crowd.ts';

const server = await startDigestServer({
  ...{ audioWorkers: 2, audioSpares: 1, inferenceWorkers: 8, inferenceSpares: 1 },
});
process.on('disconnect', () => {
  void server.close();
});
process.send?.({ url: server.url, adminUrl: server.adminUrl });
