/** Files and streams told by their first bytes. */

/** What audio that is not bare may come in. */
export type Container = 'ogg' | 'webm' | 'wav' | 'flac' | 'mp4' | 'mp3' | 'aac';

type Magic = readonly [container: Container, bytes: readonly (number | undefined)[]];

const MAGIC: readonly Magic[] = [
  ['ogg', [0x4f, 0x67, 0x67, 0x53]], // OggS, RFC 3533
  ['webm', [0x1a, 0x45, 0xdf, 0xa3]], // EBML, RFC 8794
  ['flac', [0x66, 0x4c, 0x61, 0x43]], // fLaC, RFC 9639
  ['mp3', [0x49, 0x44, 0x33]], // ID3v2
  ['wav', [0x52, 0x49, 0x46, 0x46]], // RIFF
  ['mp4', [0x00, undefined, undefined, undefined, 0x66, 0x74, 0x79, 0x70]], // a size, then ftyp: ISO 14496-12
];
/** Two bytes that bare audio may well begin with: they tell something only where no encoding was named. */
const WEAK_MAGIC: readonly Magic[] = [
  ['mp3', [0xff, 0xfb]],
  ['mp3', [0xff, 0xf3]],
  ['mp3', [0xff, 0xf2]],
  ['aac', [0xff, 0xf1]],
  ['aac', [0xff, 0xf9]],
];

/** True if the bytes and the pattern do not differ as far as both reach. */
function agrees(head: Uint8Array, pattern: Magic[1]): boolean {
  return pattern.every((byte, i) => byte === undefined || i >= head.length || head[i] === byte);
}

/** The container that `message` is the start of, if any. */
export function findContainer(message: Uint8Array): Container | undefined {
  return MAGIC.find(([, bytes]) => message.length >= bytes.length && agrees(message, bytes))?.[0];
}

/**
 * What a stream is by its first bytes, where nobody said: `open` while more of them are needed, at most 8. Bare
 * packets and samples begin with anything and are `unknown`.
 */
export function sniffContainer(head: Uint8Array): Container | 'open' | 'unknown' {
  const candidates = [...MAGIC, ...WEAK_MAGIC].filter(([, bytes]) => agrees(head, bytes));
  const found = candidates.find(([, bytes]) => head.length >= bytes.length);
  return found?.[0] ?? (candidates.length > 0 ? 'open' : 'unknown');
}

/** True if the bytes begin with this ASCII text. */
export function startsWith(bytes: Uint8Array, text: string): boolean {
  return bytes.length >= text.length && Array.from(text).every((c, i) => c.charCodeAt(0) === bytes[i]);
}
