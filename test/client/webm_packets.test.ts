import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { BufferTarget, EncodedAudioPacketSource, EncodedPacket, Output, WebMOutputFormat } from 'mediabunny';
import { WebmPackets } from '../../client/webm_packets.ts';

const PACKETS = Array.from({ length: 400 }, (_, i) =>
  Uint8Array.from({ length: 1 + ((i * 37) % 300) }, (_, k) => (i + k) % 256),
);

/** As a library that knows nothing of ours writes it; with `appendOnly`, as a recorder does: no sizes, no way back. */
async function webmOf(packets: readonly Uint8Array[], appendOnly: boolean): Promise<Uint8Array> {
  const target = new BufferTarget();
  const output = new Output({ format: new WebMOutputFormat({ appendOnly }), target });
  const track = new EncodedAudioPacketSource('opus');
  output.addAudioTrack(track);
  await output.start();
  const decoderConfig = { codec: 'opus', sampleRate: 48_000, numberOfChannels: 1 };
  for (const [i, bytes] of packets.entries()) {
    await track.add(new EncodedPacket(bytes, 'key', i * 0.02, 0.02), { decoderConfig });
  }
  await output.finalize();
  assert(target.buffer !== null);
  return new Uint8Array(target.buffer);
}

describe('a recorder’s WebM stream', () => {
  for (const appendOnly of [true, false]) {
    it(`[CAP7] gives its packets, wherever it is cut (${appendOnly ? 'growing' : 'finished'} file)`, async () => {
      const webm = await webmOf(PACKETS, appendOnly);
      fc.assert(
        fc.property(fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1 }), (lengths) => {
          const reader = new WebmPackets();
          const found: Uint8Array[] = [];
          for (let start = 0, i = 0; start < webm.length; i++) {
            const end = start + (lengths[i % lengths.length] ?? 1);
            found.push(...reader.push(webm.slice(start, end)));
            start = end;
          }
          assert.deepEqual(found, PACKETS);
        }),
        { numRuns: 20 },
      );
    });
  }

  it('[CAP7] a block in a group counts too, a laced one is refused', () => {
    const block = (flags: number): Uint8Array => Uint8Array.of(0xa0, 0x87, 0xa1, 0x85, 0x81, 0, 0, flags, 42);
    assert.deepEqual(new WebmPackets().push(block(0)), [Uint8Array.of(42)]);
    assert.throws(() => new WebmPackets().push(block(0x02)), /laced/);
  });

  it('[CAP7] anything else is refused or gives nothing, and never grows without end', () => {
    assert.throws(() => new WebmPackets().push(Uint8Array.of(0, 1, 2, 3)), /not a WebM stream/);
    assert.throws(() => new WebmPackets().push(Uint8Array.of(0xec, 0x2f, 0xff, 0xff)), /not a WebM stream/);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          new WebmPackets().push(bytes);
        } catch (error) {
          assert(error instanceof Error && /WebM/.test(error.message), String(error));
        }
      }),
    );
  });
});
