/**
 * A server in a process of its own, so that what loads it does not slow it down. Ends with its parent.
 * `node server_child.js [settings as JSON] [path of an inference worker without a model]`
 */
import type { Config } from '../../server/config.ts';
import { startRealServer } from '../support/real_server.ts';

const [settings = '{}', workerPath] = process.argv.slice(2);
const parts = workerPath === undefined ? {} : { workerModules: { inference: { path: workerPath } } };
const server = await startRealServer(JSON.parse(settings) as Partial<Config>, parts);
process.on('disconnect', () => {
  void server.close();
});
process.send?.({ url: server.url, adminUrl: server.adminUrl });
