/** What a demuxer says, as lines of text. */
import type { OpusDemuxer } from '../../pipeline/codecs/opus_head.ts';

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** One line for each step; a refusal is the last. Every message is followed by a restore into `fresh()`, if it is given. */
export function describeDemuxed(
  demuxer: OpusDemuxer,
  messages: readonly Uint8Array[],
  fresh?: () => OpusDemuxer,
): string[] {
  const lines: string[] = [];
  let current = demuxer;
  for (const message of messages) {
    for (const item of current.push(message)) {
      if (item.type === 'head') lines.push(`head ${item.preSkipSamples}`);
      else if (item.type === 'packet') lines.push(hexOf(item.bytes));
      else return [...lines, `refused ${item.reason}`];
    }
    if (fresh === undefined) continue;
    const saved = current.save();
    current = fresh();
    current.restore(saved);
  }
  return lines;
}
