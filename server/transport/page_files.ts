/** The page at `/`: its files, read once, and the headers that keep it to itself. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join, sep } from 'node:path';
import { constants, gzipSync } from 'node:zlib';
import type { HttpAnswer, HttpRequest } from './transport.ts';

/** What a page may be made of; files of other kinds are not served. */
const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.webm': 'audio/webm',
};
/** Audio does not get smaller. */
const COMPRESSED_TYPES = /^(text|image\/svg)/;

/** Everything comes from here, nothing goes elsewhere, and nobody frames it. */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "media-src 'self' blob:",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');
const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy': PAGE_POLICY,
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'microphone=(self), screen-wake-lock=(self), camera=(), geolocation=()',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};
/** Names in here hold a hash of the content. */
const HASHED_FOLDER = '/assets/';

interface PageFile {
  readonly headers: Readonly<Record<string, string>>;
  readonly etag: string;
  readonly content: Uint8Array;
  /** Compressed; undefined where that does not help. */
  readonly gzip: Uint8Array | undefined;
}

export class PageFiles {
  readonly #files = new Map<string, PageFile>();

  /** Reads `folder`, which may be missing: then there is no page. Throws what node:fs throws for anything else. */
  constructor(folder: string) {
    for (const name of namesIn(folder)) {
      const contentType = CONTENT_TYPES[extname(name)];
      if (contentType === undefined) continue;
      const path = `/${name.split(sep).join('/')}`;
      this.#files.set(
        path === '/index.html' ? '/' : path,
        readPageFile(join(folder, name), path, contentType),
      );
    }
  }

  /** The answer to a request for one of the files; undefined if it asks for something else. */
  answer(request: Pick<HttpRequest, 'method' | 'path' | 'headers'>): HttpAnswer | undefined {
    const file = this.#files.get(request.path);
    if (file === undefined) return undefined;
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return { status: 405, headers: { ...PAGE_HEADERS, Allow: 'GET, HEAD' }, body: '' };
    }
    const headers = { ...file.headers, ETag: file.etag };
    if (matches(request.headers.get('if-none-match'), file.etag)) return { status: 304, headers, body: '' };
    const takesGzip = /\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))/i.test(
      request.headers.get('accept-encoding') ?? '',
    );
    if (file.gzip === undefined || !takesGzip) return { status: 200, headers, body: file.content };
    return { status: 200, headers: { ...headers, 'Content-Encoding': 'gzip' }, body: file.gzip };
  }
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function readPageFile(name: string, path: string, contentType: string): PageFile {
  const content = readFileSync(name);
  const isCompressed = COMPRESSED_TYPES.test(contentType);
  const isHashed = path.startsWith(HASHED_FOLDER);
  return {
    headers: {
      ...PAGE_HEADERS,
      'Content-Type': contentType,
      'Cache-Control': isHashed ? 'public, max-age=31536000, immutable' : 'no-cache',
      ...(isCompressed ? { Vary: 'Accept-Encoding' } : {}),
    },
    // Weak: the compressed form has the same.
    etag: `W/"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"`,
    content,
    gzip: isCompressed ? gzipSync(content, { level: constants.Z_BEST_COMPRESSION }) : undefined,
  };
}

/** RFC 9110 section 13.1.2. */
function matches(condition: string | undefined, etag: string): boolean {
  return condition?.split(',').some((candidate) => ['*', etag].includes(candidate.trim())) === true;
}
