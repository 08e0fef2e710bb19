/** Goes on, in a process of its own, with a decoder that another process saved. Ends when its parent lets go. */
import type { AudioFormat } from '../../pipeline/audio.ts';
import type { DecodedAudio } from '../../pipeline/contracts.ts';
import { loadDecoderFactory } from '../../pipeline/codecs/decoders.ts';

/** What the parent sends: decode `messages` with a decoder restored from `snapshot`. Answered by `DecodedAudio[]`. */
export interface DecodingTask {
  readonly format: AudioFormat;
  readonly snapshot: Uint8Array;
  readonly messages: readonly Uint8Array[];
}

const factory = await loadDecoderFactory();
// Others first, so that the restored state lies at another address than it was saved from.
for (let i = 0; i < 7; i++) factory.create({ encoding: 'opus', sampleRateHz: 48_000, channels: 1 });
process.on('message', (task: DecodingTask) => {
  const decoder = factory.create(task.format);
  decoder.restore(task.snapshot);
  const results: DecodedAudio[] = task.messages.map((message) => decoder.decode(message));
  decoder.close();
  process.send?.(results);
});
