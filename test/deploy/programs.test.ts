/** What nginx, Caddy, systemd and a kernel's namespaces make of the files, on machines that have them. */
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { WebSocket } from 'ws';
import { defaultModelsDir } from '../../models/weights.ts';
import { selfSigned } from '../support/self_signed.ts';
import { StubServer } from '../support/stub_server.ts';
import { readDeploy, ROOT } from './deploy_files.ts';

const run = promisify(execFile);

/** Whether a program can be run, as a test's `skip`. */
function unless(program: string, ...args: readonly string[]): { readonly skip: string | false } {
  const { status } = spawnSync(program, args, { stdio: 'ignore' });
  return { skip: status === 0 ? false : `${program} cannot be run here` };
}

async function folderFor(test: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'earwitness-deploy-'));
  test.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A port that nobody listens at, as far as can be known. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

function endAfter(test: TestContext, child: ChildProcess): void {
  test.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  });
}

interface Client {
  readonly socket: WebSocket;
  /** Types of the messages that came; the first may come with the answer to the handshake. */
  readonly heard: string[];
}

/** Opens a WebSocket to what is only starting; gives up after 10 s. */
async function connect(url: string): Promise<Client> {
  for (let attempt = 1; ; attempt++) {
    const socket = new WebSocket(url, {
      rejectUnauthorized: false,
      headers: { 'X-Forwarded-For': '198.51.100.7' },
    });
    const heard: string[] = [];
    socket.on('message', (bytes: Buffer) => {
      heard.push((JSON.parse(bytes.toString()) as { type: string }).type);
    });
    try {
      await once(socket, 'open');
      return { socket, heard };
    } catch (error) {
      if (attempt === 100) throw error;
      await pause(100);
    }
  }
}

/** A session through a proxy: opened, spoken in, ended; and what the server was told of the client. */
async function talkThrough(url: string, server: StubServer): Promise<void> {
  const { socket, heard } = await connect(url);
  const closed = once(socket, 'close') as Promise<[number]>;
  socket.send(Buffer.alloc(640));
  socket.send('{"type":"stop"}');
  assert.equal((await closed)[0], 1_000);
  assert.deepEqual(heard, ['ready', 'done']);
  // The proxy's word comes last, whatever the client claimed.
  assert.match(server.requests.at(-1)?.headers['x-forwarded-for'] as string, /(^|, )127\.0\.0\.1$/);
}

void describe('deployment files and the programs that they are for', () => {
  it('[DEP15] nginx takes its configuration, and carries a session', unless('nginx', '-v'), async (test) => {
    const folder = await folderFor(test);
    const server = await StubServer.start({ texts: [], delayMsOf: () => 0 });
    test.after(() => server.close());
    const { cert, key } = selfSigned();
    await Promise.all([
      writeFile(join(folder, 'fullchain.pem'), cert),
      writeFile(join(folder, 'privkey.pem'), key),
    ]);
    const port = await freePort();
    const site = readDeploy('nginx.conf')
      .replace('127.0.0.1:8080', new URL(server.url).host)
      .replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
      .replaceAll('/etc/nginx/tls', folder);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((name) => `${name}_temp_path ${folder}/${name};`)
      .join(' ');
    const main = `daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr;
      events {} http { access_log off; ${temporary} ${site} }`;
    const path = join(folder, 'nginx.conf');
    await writeFile(path, main);
    await run('nginx', ['-t', '-q', '-c', path]);
    endAfter(test, spawn('nginx', ['-c', path], { stdio: 'ignore' }));
    await talkThrough(`wss://127.0.0.1:${port}/v1/stream?encoding=pcm_s16le`, server);
  });

  it(
    '[DEP16] Caddy takes its configuration, and carries a session',
    unless('caddy', 'version'),
    async (test) => {
      const folder = await folderFor(test);
      const server = await StubServer.start({ texts: [], delayMsOf: () => 0 });
      test.after(() => server.close());
      const env = { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
      const original = join(folder, 'Caddyfile');
      await writeFile(original, readDeploy('Caddyfile'));
      await run('caddy', ['validate', '--adapter', 'caddyfile', '--config', original], { env });
      const port = await freePort();
      const site = readDeploy('Caddyfile')
        .replace('speech.example.org', `http://127.0.0.1:${port}`)
        .replace('127.0.0.1:8080', new URL(server.url).host);
      await writeFile(original, `{\n\tadmin off\n}\n${site}`);
      endAfter(
        test,
        spawn('caddy', ['run', '--adapter', 'caddyfile', '--config', original], { env, stdio: 'ignore' }),
      );
      await talkThrough(`ws://127.0.0.1:${port}/v1/stream?encoding=pcm_s16le`, server);
    },
  );

  it(
    '[DEP17] systemd takes the unit, and finds it exposed to 3 of 10 at most',
    unless('systemd-analyze', '--version'),
    async (test) => {
      const folder = await folderFor(test);
      const path = join(folder, 'earwitness.service');
      const unit = readDeploy('earwitness.service')
        .replace('/usr/bin/node', process.execPath)
        .replaceAll('/opt/earwitness', fileURLToPath(ROOT).replace(/\/$/, ''));
      await writeFile(path, unit);
      const { stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', path]);
      assert.equal(`${stdout}${stderr}`, '');
      const security = await run('systemd-analyze', ['security', '--offline=true', '--no-pager', path]);
      const exposure = Number(/exposure level for earwitness\.service: ([\d.]+)/.exec(security.stdout)?.[1]);
      assert.ok(exposure <= 3, `exposed to ${exposure}`);
    },
  );

  // As in a container: first process, no root file system that can be written to, one folder that can.
  const canConfine = unless('unshare', '-rpf', '--mount-proc', 'mount', '-o', 'remount,ro,bind', '/');
  it(
    '[DEP18] as first process on a root that cannot be written, it serves, and SIGTERM ends it with 0',
    canConfine,
    async (test) => {
      const folder = await folderFor(test);
      const modelsDir =
        process.env['EARWITNESS_MODELS_DIR'] ?? defaultModelsDir(process.env, userInfo().homedir);
      const main = fileURLToPath(new URL('dist/server/main.js', ROOT));
      // Neither the crash reports' folder nor that of the quarantine can be made.
      const script = `mount --bind "${folder}" "${folder}" && mount -o remount,ro,bind / && exec "${process.execPath}" "${main}" serve --no-supervise \
      --port 0 --admin-port 0 --keys-file '' --models-dir "${modelsDir}" --log-level warn \
      --crash-dir /nowhere/crashes --quarantine-dir /nowhere/quarantine >"${folder}/out" 2>"${folder}/log"`;
      const child = spawn('unshare', ['-rpf', '--mount-proc', '--kill-child', 'sh', '-c', script], {
        stdio: 'ignore',
      });
      endAfter(test, child);
      const output = (): Promise<string> => readFile(join(folder, 'out'), 'utf8').catch(() => '');
      let url: string | undefined;
      for (let attempt = 0; url === undefined && attempt < 600 && child.exitCode === null; attempt++) {
        await pause(100);
        [, url] = /listens on (\S+) /.exec(await output()) ?? [];
      }
      assert.ok(url !== undefined, await readFile(join(folder, 'log'), 'utf8'));
      const { socket, heard } = await connect(`${url.replace('http', 'ws')}/v1/stream?encoding=opus`);
      if (heard.length === 0) await once(socket, 'message');
      const closed = once(socket, 'close') as Promise<[number]>;
      const [first] = (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')).split(' ');
      process.kill(Number(first), 'SIGTERM');
      assert.equal((await closed)[0], 1_012);
      assert.deepEqual(heard, ['ready', 'goAway', 'done']);
      const [status] = (await once(child, 'exit')) as [number];
      assert.equal(status, 0);
      assert.match(await readFile(join(folder, 'log'), 'utf8'), /crash reports cannot be written/);
    },
  );
});
