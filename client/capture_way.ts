/** The ways to get audio from a browser's microphone, the best first. */

/**
 * `packets`: WebCodecs makes Opus packets of 20 ms. `recorder`: `MediaRecorder` makes WebM, which is taken apart into
 * its Opus packets. `pcm`: 16-bit PCM as it is, eight times the bytes.
 */
export const CAPTURE_WAYS = ['packets', 'recorder', 'pcm'] as const;
export type CaptureWay = (typeof CAPTURE_WAYS)[number];

/** What a browser can do. */
export type CaptureSupport = Readonly<Record<CaptureWay, boolean>>;

/** The way that is wanted, or else the best; undefined if the browser cannot do it. */
export function chooseCaptureWay(support: CaptureSupport, wanted?: CaptureWay): CaptureWay | undefined {
  return CAPTURE_WAYS.find((way) => support[way] && (wanted === undefined || way === wanted));
}
