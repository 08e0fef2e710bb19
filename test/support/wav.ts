/** Writes WAV files for tests, right ones and wrong ones. */

export interface WavSpec {
  /** Format tag: 1 integer (default), 3 float, 6 A-law, 7 mu-law; others write the samples as they are. */
  readonly tag: number;
  readonly bitsPerSample: number;
  readonly sampleRateHz: number;
  readonly channels: number;
  /** Writes the 40-byte format that names the tag in its second half. */
  readonly isExtensible: boolean;
  /** Parts before the format: name and length of each. */
  readonly before: readonly (readonly [name: string, bytes: number])[];
  /** Length that the samples' part claims; default the true one. */
  readonly dataBytes: number;
}

const DEFAULTS: Omit<WavSpec, 'dataBytes'> = {
  ...{ tag: 1, bitsPerSample: 16, sampleRateHz: 16_000, channels: 1 },
  ...{ isExtensible: false, before: [] },
};

/** A WAV file of interleaved 16-bit samples, converted to the format asked for, or of bytes as they are. */
export function wavOf(samples: Int16Array | Uint8Array, options: Partial<WavSpec> = {}): Buffer {
  const spec = { ...DEFAULTS, ...options };
  const content = samples instanceof Uint8Array ? Buffer.from(samples) : encode(samples, spec);
  const body = Buffer.concat([
    Buffer.from('WAVE'),
    ...spec.before.map(([name, bytes]) => part(name, Buffer.alloc(bytes, 1))),
    part('fmt ', formatOf(spec)),
    part('data', content, spec.dataBytes),
  ]);
  return part('RIFF', body);
}

function part(name: string, content: Buffer, claimedBytes = content.length): Buffer {
  const head = Buffer.alloc(8);
  head.write(name, 'latin1');
  head.writeUInt32LE(claimedBytes, 4);
  return Buffer.concat([head, content, Buffer.alloc(content.length % 2)]);
}

function formatOf({
  tag,
  bitsPerSample,
  sampleRateHz,
  channels,
  isExtensible,
}: Omit<WavSpec, 'dataBytes'>): Buffer {
  const format = Buffer.alloc(isExtensible ? 40 : 16);
  const frameBytes = (channels * bitsPerSample) / 8;
  format.writeUInt16LE(isExtensible ? 0xfffe : tag, 0);
  format.writeUInt16LE(channels, 2);
  format.writeUInt32LE(sampleRateHz, 4);
  format.writeUInt32LE(Math.floor(sampleRateHz * frameBytes), 8);
  format.writeUInt16LE(Math.floor(frameBytes), 12);
  format.writeUInt16LE(bitsPerSample, 14);
  if (isExtensible) format.writeUInt16LE(tag, 24);
  return format;
}

function encode(samples: Int16Array, { tag, bitsPerSample }: Omit<WavSpec, 'dataBytes'>): Buffer {
  const bytes = Buffer.alloc(samples.length * Math.ceil(bitsPerSample / 8));
  for (const [i, sample] of samples.entries()) {
    const offset = (i * bitsPerSample) / 8;
    if (tag === 3 && bitsPerSample === 32) bytes.writeFloatLE(sample / 32_768, offset);
    else if (tag === 3) bytes.writeDoubleLE(sample / 32_768, offset);
    else if (bitsPerSample === 8) bytes.writeUInt8((sample >> 8) + 128, offset);
    else if (bitsPerSample === 16) bytes.writeInt16LE(sample, offset);
    else if (bitsPerSample === 24) bytes.writeIntLE(sample * 256, offset, 3);
    else if (bitsPerSample === 32) bytes.writeInt32LE(sample * 65_536, offset);
  }
  return bytes;
}
