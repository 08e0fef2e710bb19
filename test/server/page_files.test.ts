import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { PageFiles } from '../../server/transport/page_files.ts';
import type { HttpAnswer } from '../../server/transport/transport.ts';

describe('the files of the page', () => {
  let folder = '';
  let page: PageFiles;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'earwitness-page-'));
    await mkdir(join(folder, 'assets'));
    await writeFile(join(folder, 'index.html'), '<title>page</title>');
    await writeFile(join(folder, 'assets', 'index-abc.js'), 'run();');
    await writeFile(join(folder, 'sample.webm'), 'sound');
    await writeFile(join(folder, 'notes.map'), 'secret');
    page = new PageFiles(folder);
  });
  after(() => rm(folder, { recursive: true }));

  const get = (path: string, headers: Record<string, string> = {}, method = 'GET'): HttpAnswer | undefined =>
    page.answer({ method, path, headers: new Map(Object.entries(headers)) });

  it('[PAGE7] are served with their types, and nothing else is', () => {
    assert.equal(get('/')?.headers['Content-Type'], 'text/html; charset=utf-8');
    assert.equal(get('/assets/index-abc.js')?.headers['Content-Type'], 'text/javascript; charset=utf-8');
    assert.equal(get('/sample.webm')?.headers['Content-Type'], 'audio/webm');
    for (const path of ['/notes.map', '/index.html', '/../package.json', '/assets', '/assets/', '//', '']) {
      assert.equal(get(path), undefined, path);
    }
    assert.equal(get('/', {}, 'POST')?.status, 405);
    assert.equal(get('/', {}, 'HEAD')?.status, 200);
  });

  it('[PAGE8] every answer has the policy: nothing from elsewhere, nothing inline, no frames', () => {
    for (const answer of [get('/'), get('/assets/index-abc.js'), get('/', {}, 'POST')]) {
      const policy = answer?.headers['Content-Security-Policy'] ?? '';
      assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'/);
      assert.match(policy, /frame-ancestors 'none'/);
      assert.doesNotMatch(policy, /unsafe|\*|https?:/);
      assert.equal(answer?.headers['X-Content-Type-Options'], 'nosniff');
      assert.equal(answer.headers['Referrer-Policy'], 'no-referrer');
      assert.match(answer.headers['Permissions-Policy'] ?? '', /microphone=\(self\)/);
    }
  });

  it('[PAGE9] hashed files are kept for ever, the others asked for again', () => {
    assert.match(get('/assets/index-abc.js')?.headers['Cache-Control'] ?? '', /immutable/);
    const first = get('/');
    assert.equal(first?.headers['Cache-Control'], 'no-cache');
    const etag = first.headers['ETag'] ?? '';
    for (const condition of [etag, `"other", ${etag}`, '*']) {
      const again = get('/', { 'if-none-match': condition });
      assert.deepEqual([again?.status, again?.body], [304, ''], condition);
      assert.equal(again?.headers['ETag'], etag);
    }
    assert.equal(get('/', { 'if-none-match': '"other"' })?.status, 200);
  });

  it('[PAGE9] text is compressed for those who take it', () => {
    const plain = get('/');
    const small = get('/', { 'accept-encoding': 'br, gzip;q=0.8' });
    assert.equal(small?.headers['Content-Encoding'], 'gzip');
    assert.equal(gunzipSync(small.body).toString(), '<title>page</title>');
    assert.equal(small.headers['Vary'], 'Accept-Encoding');
    assert.equal(plain?.headers['Content-Encoding'], undefined);
    assert.equal(get('/', { 'accept-encoding': 'gzip;q=0' })?.headers['Content-Encoding'], undefined);
    assert.equal(get('/sample.webm', { 'accept-encoding': 'gzip' })?.headers['Content-Encoding'], undefined);
  });

  it('[PAGE10] a server without them has no page', () => {
    const none = new PageFiles(join(folder, 'nowhere'));
    assert.equal(none.answer({ method: 'GET', path: '/', headers: new Map() }), undefined);
  });
});
