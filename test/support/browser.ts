/** A browser for tests: Debian's Chromium with a file for its microphone, driven by Playwright. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { SAMPLE_RATE_HZ } from '../../pipeline/audio.ts';
import { wavOf } from './wav.ts';

const EXECUTABLE = '/usr/bin/chromium';
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
];

export interface TestBrowser {
  readonly browser: Browser;
  readonly close: () => Promise<void>;
}

/** What is heard, once from its start, as 16 kHz mono PCM; or no microphone; or one that may not be used. */
export type TestMicrophone = Int16Array | 'none' | 'forbidden';

export async function launchBrowser(microphone: TestMicrophone): Promise<TestBrowser> {
  const folder = await mkdtemp(join(tmpdir(), 'earwitness-browser-'));
  const path = join(folder, 'speech.wav');
  if (typeof microphone !== 'string') {
    await writeFile(path, wavOf(microphone, { sampleRateHz: SAMPLE_RATE_HZ }));
  }
  const browser = await chromium.launch({
    executablePath: EXECUTABLE,
    args: [
      ...ARGUMENTS,
      ...(microphone === 'none' ? [] : ['--use-fake-device-for-media-stream']),
      ...(typeof microphone === 'string'
        ? []
        : ['--use-fake-ui-for-media-stream', `--use-file-for-fake-audio-capture=${path}%noloop`]),
    ],
  });
  return {
    browser,
    close: async () => {
      await browser.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A page and what it must not have done. */
export interface WatchedPage {
  readonly page: Page;
  /** Errors on the console, exceptions, violations of the policy, requests that left the origin. */
  readonly faults: string[];
  readonly close: () => Promise<void>;
}

/** Opens the address in a fresh context. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const faults: string[] = [];
  let host = '';
  page.on('framenavigated', (frame) => {
    host ||= new URL(frame.url()).host;
  });
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(message.text());
  });
  page.on('request', (request) => {
    const target = new URL(request.url());
    if (host !== '' && target.protocol !== 'blob:' && target.host !== host)
      faults.push(`a request to ${target.host}`);
  });
  page.on('websocket', (socket) => {
    if (new URL(socket.url()).host !== host) faults.push(`a WebSocket to ${socket.url()}`);
  });
  await page.goto(url);
  return { page, faults, close: () => context.close() };
}
