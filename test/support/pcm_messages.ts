/** Audio of tests as the messages that clients send. */

/** 20 ms messages of interleaved PCM; resampled by repetition or decimation, which is crude and enough for speech. */
export function pcmMessages(
  pcm: Int16Array,
  format: { readonly rate: number; readonly channels: number },
): Uint8Array[] {
  const length = Math.floor((pcm.length * format.rate) / 16_000);
  const samples = new Int16Array(length * format.channels);
  for (let i = 0; i < length; i++) {
    const position = (i * 16_000) / format.rate;
    const before = pcm[Math.floor(position)] ?? 0;
    const after = pcm[Math.floor(position) + 1] ?? before;
    const value = Math.round(before + (after - before) * (position % 1));
    samples.fill(value, i * format.channels, (i + 1) * format.channels);
  }
  const messageSamples = (format.rate / 50) * format.channels;
  const messages: Uint8Array[] = [];
  for (let start = 0; start < samples.length; start += messageSamples) {
    const part = samples.slice(start, start + messageSamples);
    messages.push(new Uint8Array(part.buffer));
  }
  return messages;
}

/** Sends messages of 20 ms at `speed` times real time; resolves when the last one has been sent. */
export async function play(
  messages: readonly Uint8Array[],
  send: (message: Uint8Array) => void,
  speed = 1,
): Promise<void> {
  for (const [i, message] of messages.entries()) {
    send(message);
    if (i % speed === speed - 1) await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
