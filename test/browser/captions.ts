/** What a person does with the page, and sees there. */
import type { Page } from 'playwright-core';

export async function startListening(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Start', exact: true }).click();
}

/** Stops and waits for the last final. */
export async function stopListening(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  await waitForStatus(page, 'Ready');
}

export function waitForStatus(page: Page, text: string): Promise<void> {
  return page.locator('#status-text').getByText(text, { exact: true }).waitFor();
}

/** Waits until so many lines are final. */
export async function waitForFinals(page: Page, count: number): Promise<void> {
  await page
    .locator('.line[data-final="true"]')
    .nth(count - 1)
    .waitFor();
}

/** The lines of text on the page. */
export function linesOf(page: Page): Promise<string[]> {
  return page.locator('.line p').allTextContents();
}

/** Watches, from before the page's own code runs, when the microphone opens and the first words appear. */
export async function watchFirstCaption(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const seen: Record<string, number> = {};
    Object.assign(globalThis, { seen });
    const devices = navigator.mediaDevices;
    const open = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (constraints) => {
      const stream = await open(constraints);
      seen['openedAtMs'] = performance.now();
      return stream;
    };
    new MutationObserver(() => {
      if (document.querySelector('.word') !== null) seen['captionAtMs'] ??= performance.now();
      if (document.querySelector('.word:not(.settled)') !== null) seen['pale'] = 1;
    }).observe(document, { subtree: true, childList: true, attributes: true });
  });
}

/** What `watchFirstCaption` saw. */
export function firstCaption(
  page: Page,
): Promise<{ openedAtMs: number; captionAtMs: number; pale?: number }> {
  return page.evaluate(() => (globalThis as unknown as { seen: never }).seen);
}
