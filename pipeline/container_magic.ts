/** Containers that clients send by mistake where bare audio was agreed, told by their first bytes. */

/** Formats recognised by `findContainer`. */
export type Container = 'ogg' | 'webm' | 'flac' | 'mp3' | 'wav';

const MAGIC: readonly (readonly [container: Container, bytes: readonly number[]])[] = [
  ['ogg', [0x4f, 0x67, 0x67, 0x53]], // OggS, RFC 3533
  ['webm', [0x1a, 0x45, 0xdf, 0xa3]], // EBML, RFC 8794
  ['flac', [0x66, 0x4c, 0x61, 0x43]], // fLaC, RFC 9639
  ['mp3', [0x49, 0x44, 0x33]], // ID3v2
  ['wav', [0x52, 0x49, 0x46, 0x46]], // RIFF
];

/** The container that `message` is the start of, if any. */
export function findContainer(message: Uint8Array): Container | undefined {
  return MAGIC.find(([, bytes]) => bytes.every((byte, i) => message[i] === byte))?.[0];
}
