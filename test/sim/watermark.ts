/**
 * Audio that says what it is. A packet names its client, its number and whether it is speech; every four samples of the PCM
 * it decodes to name the client and the position, so that whoever gets any span of it can tell whose it is and that no
 * sample is missing, doubled or foreign.
 */
import { msToSamples } from '../../pipeline/audio.ts';

export interface SimPacket {
  readonly client: number;
  /** 0, 1, 2 … of this client's packets. */
  readonly index: number;
  readonly isSpeech: boolean;
  readonly durationSamples: number;
}

/** Code 3 packets (RFC 6716 section 3.2.5) of CELT frames: 20 ms, and 2.5 ms. */
const TOC_20_MS = 0xfb;
const TOC_2_5_MS = 0xe3;
const MAGIC = 0x5a;
const HEADER_BYTES = 2;
const BODY_BYTES = 8;
/** Frames of 20 ms in one packet. */
export const FRAME_COUNTS = [1, 2, 3, 5, 6] as const;
const FRAME_SAMPLES = msToSamples(20);

/** The bytes of a packet of `frameCount` 20 ms frames. */
export function encodePacket(packet: Omit<SimPacket, 'durationSamples'>, frameCount: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + Math.ceil(BODY_BYTES / frameCount) * frameCount);
  writePacket(bytes, packet, { toc: TOC_20_MS, frameCount });
  return bytes;
}

/** A packet of 2.5 ms that is as large as a packet of one frame can be. */
export function encodeHeavyPacket(packet: Omit<SimPacket, 'durationSamples'>): Uint8Array {
  const bytes = new Uint8Array(1_200);
  writePacket(bytes, packet, { toc: TOC_2_5_MS, frameCount: 1 });
  return bytes;
}

function writePacket(
  bytes: Uint8Array,
  { client, index, isSpeech }: Omit<SimPacket, 'durationSamples'>,
  { toc, frameCount }: { readonly toc: number; readonly frameCount: number },
): void {
  const view = new DataView(bytes.buffer);
  view.setUint8(0, toc);
  view.setUint8(1, frameCount);
  view.setUint8(2, MAGIC);
  view.setUint16(3, client);
  view.setUint32(5, index);
  view.setUint8(9, isSpeech ? 1 : 0);
}

/** What the bytes say, or undefined if they are no packet of ours. */
export function decodePacket(bytes: Uint8Array): SimPacket | undefined {
  if (bytes.length < HEADER_BYTES + BODY_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint8(2) !== MAGIC) return undefined;
  const frameSamples = view.getUint8(0) === TOC_2_5_MS ? FRAME_SAMPLES / 8 : FRAME_SAMPLES;
  return {
    client: view.getUint16(3),
    index: view.getUint32(5),
    isSpeech: view.getUint8(9) === 1,
    durationSamples: view.getUint8(1) * frameSamples,
  };
}

/** A span of one client's audio; positions count from the first sample of its decoder. */
export interface MarkedSpan {
  readonly client: number;
  readonly startSamples: number;
  readonly endSamples: number;
}

const SPEECH_MARK = -2;
const SILENCE_MARK = -1;
const POSITION_BITS = 15;
const POSITION_MASK = (1 << POSITION_BITS) - 1;

/** PCM whose every group of four samples says: client, low and high part of position / 4, speech or silence. */
export function markedPcm(span: MarkedSpan, isSpeech: boolean): Int16Array {
  const { client, startSamples, endSamples } = span;
  const pcm = new Int16Array(endSamples - startSamples);
  const mark = isSpeech ? SPEECH_MARK : SILENCE_MARK;
  // Every packet is a multiple of four samples long.
  let group = startSamples / 4;
  for (let i = 0; i < pcm.length; i += 4, group++) {
    pcm[i] = client;
    pcm[i + 1] = group & POSITION_MASK;
    pcm[i + 2] = group >>> POSITION_BITS;
    pcm[i + 3] = mark;
  }
  return pcm;
}

/** Whose audio this is, and which; undefined if it is not one unbroken span of one client. At least 8 samples. */
export function readSpan(pcm: Int16Array): MarkedSpan | undefined {
  let first = 0;
  while (first < 4 && (pcm[first + 3] ?? 0) >= 0) first++;
  if (first === 4) return undefined;
  const client = pcm[first] ?? 0;
  const firstGroup = ((pcm[first + 2] ?? 0) << POSITION_BITS) | (pcm[first + 1] ?? 0);
  let group = firstGroup;
  for (let i = first; i + 3 < pcm.length; i += 4, group++) {
    if (pcm[i] !== client || pcm[i + 1] !== (group & POSITION_MASK)) return undefined;
    if (pcm[i + 2] !== group >>> POSITION_BITS || (pcm[i + 3] ?? 0) >= 0) return undefined;
  }
  const startSamples = firstGroup * 4 - first;
  return { client, startSamples, endSamples: startSamples + pcm.length };
}

/** Whether the middle of a frame is speech. Frames begin at a multiple of four. */
export function isSpeechFrame(frame: Int16Array): boolean {
  return frame[(frame.length >> 1) + 3] === SPEECH_MARK;
}

/** The text a recogniser gives for a span where it must be exact. */
export function spanText({ client, startSamples, endSamples }: MarkedSpan): string {
  return `client${client} from ${startSamples} to ${endSamples}`;
}

/** The text it may give for the beginning of an utterance. */
export function roughText(span: MarkedSpan): string {
  return `${spanText(span)} or so`;
}

/** The span a text was given for. */
export function textSpan(text: string): MarkedSpan | undefined {
  const match = /^client(\d+) from (-?\d+) to (\d+)(?: or so)?$/.exec(text);
  if (match === null) return undefined;
  return { client: Number(match[1]), startSamples: Number(match[2]), endSamples: Number(match[3]) };
}
