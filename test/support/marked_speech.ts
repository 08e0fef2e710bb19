/** Speech that can be told apart by machine: a pattern of samples that no voice makes, and that survives raw PCM. */

const REPEAT_COUNT = 4;

/** A copy of the speech with a mark (20,000–32,000) at a share of its length, in the middle by default. */
export function withMark(pcm: Int16Array, mark: number, atRatio = 0.5): Int16Array {
  const marked = pcm.slice();
  const start = Math.floor(pcm.length * atRatio);
  for (let i = 0; i < 2 * REPEAT_COUNT; i++) marked[start + i] = i % 2 === 0 ? mark : -mark;
  return marked;
}

/** The marks in the audio, in order. */
export function marksOf(pcm: Int16Array): number[] {
  const marks: number[] = [];
  for (let start = 0; start + 2 * REPEAT_COUNT <= pcm.length; start++) {
    const mark = pcm[start] ?? 0;
    if (mark >= 20_000 && isMark(pcm, start, mark)) marks.push(mark);
  }
  return marks;
}

function isMark(pcm: Int16Array, start: number, mark: number): boolean {
  for (let i = 0; i < 2 * REPEAT_COUNT; i++)
    if (pcm[start + i] !== (i % 2 === 0 ? mark : -mark)) return false;
  // A mark is found once, not again two samples on.
  return pcm[start + 2 * REPEAT_COUNT] !== mark;
}

/** 16 kHz PCM as the binary messages of a client, 20 ms each. */
export function pcmMessages(pcm: Int16Array): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let start = 0; start < pcm.length; start += 320) {
    messages.push(new Uint8Array(pcm.slice(start, start + 320).buffer));
  }
  return messages;
}
