/**
 * A server in a process of its own, so that what loads it does not slow it down. Ends with its parent.
 * `node server_child.js SETTINGS-AS-JSON PATH-OF-THE-INFERENCE-WORKER`
 */
import type { Config } from '../../server/config.ts';
import { startRealServer } from '../support/real_server.ts';

const [settings = '{}', path = ''] = process.argv.slice(2);
const parts = { workerModules: { inference: { path } } };
const server = await startRealServer(JSON.parse(settings) as Partial<Config>, parts);
process.on('disconnect', () => {
  void server.close();
});
process.send?.({ url: server.url, adminUrl: server.adminUrl });
