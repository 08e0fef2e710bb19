/** A site of somebody else's that uses the client library: the README's example, bundled, on an origin of its own. */
import { createServer } from 'node:http';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { clientExample } from '../support/client_examples.ts';

const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript' };
const HTML = `<!doctype html><title>example</title><button>Speak</button><output></output><output></output>
<script type="module" src="./example.js"></script>`;

export interface ExampleSite {
  readonly url: string;
  /** Builds the site for a server of this address. */
  build(streamUrl: string): Promise<void>;
  close(): Promise<void>;
}

/** Listens; there is no site before `build`. */
export async function startExampleSite(): Promise<ExampleSite> {
  // Inside of the package, whose name the example imports.
  const folder = await mkdtemp(fileURLToPath(new URL('../../example-', import.meta.url)));
  const server = createServer((request, response) => {
    const path = request.url === '/' ? '/index.html' : (request.url ?? '');
    readFile(join(folder, 'site', path)).then(
      (content) => response.writeHead(200, { 'Content-Type': TYPES[extname(path)] ?? '' }).end(content),
      () => response.writeHead(404).end(),
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    build: async (streamUrl) => {
      const code = clientExample('browser').replace('ws://127.0.0.1:8080/v1/stream', streamUrl);
      await writeFile(join(folder, 'index.html'), HTML);
      await writeFile(join(folder, 'example.js'), code);
      await build({
        root: folder,
        configFile: false,
        logLevel: 'error',
        build: { outDir: 'site', target: 'es2023', assetsInlineLimit: 0 },
      });
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      await rm(folder, { recursive: true });
    },
  };
}
