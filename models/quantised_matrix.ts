/** Rearrangements of 8-bit weight matrices that leave every product as it was. */
import type { QuantisedMatrix } from './published_graph.ts';

/** A matrix whose columns are those of `sources`, in order; all with the same count of rows. */
export function joinColumns(sources: readonly QuantisedMatrix[]): QuantisedMatrix {
  const columns = sources.reduce((sum, source) => sum + source.columns, 0);
  const rows = sources[0]?.rows ?? 0;
  const joined = {
    rows,
    columns,
    bytes: new Uint8Array(rows * columns),
    scales: new Float32Array(columns),
    zeroPoints: new Uint8Array(columns),
  };
  let at = 0;
  for (const source of sources) {
    for (let row = 0; row < rows; row++) {
      const from = row * source.columns;
      joined.bytes.set(source.bytes.subarray(from, from + source.columns), row * columns + at);
    }
    joined.scales.set(source.scales, at);
    joined.zeroPoints.set(source.zeroPoints, at);
    at += source.columns;
  }
  return joined;
}

/** Rows become columns. Only for a matrix with one scale and zero point. */
export function transpose(source: QuantisedMatrix): QuantisedMatrix {
  const { rows, columns, bytes } = source;
  const turned = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      turned[column * rows + row] = bytes[row * columns + column] ?? 0;
    }
  }
  return {
    rows: columns,
    columns: rows,
    bytes: turned,
    scales: new Float32Array(rows).fill(source.scales[0] ?? NaN),
    zeroPoints: new Uint8Array(rows).fill(source.zeroPoints[0] ?? 0),
  };
}

/** Multiplies what comes out by `factor`, at no cost at run time. */
export function scaled(source: QuantisedMatrix, factor: number): QuantisedMatrix {
  return { ...source, scales: source.scales.map((scale) => scale * factor) };
}

/** Widens each of the heads that the columns are made of by columns that give 0. */
export function padHeadColumns(
  source: QuantisedMatrix,
  headSize: number,
  paddedSize: number,
): QuantisedMatrix {
  const headCount = source.columns / headSize;
  const columns = headCount * paddedSize;
  const zeroPoint = source.zeroPoints[0] ?? 0;
  const bytes = new Uint8Array(source.rows * columns).fill(zeroPoint);
  for (let row = 0; row < source.rows; row++) {
    for (let head = 0; head < headCount; head++) {
      const from = row * source.columns + head * headSize;
      bytes.set(source.bytes.subarray(from, from + headSize), row * columns + head * paddedSize);
    }
  }
  return {
    rows: source.rows,
    columns,
    bytes,
    scales: new Float32Array(columns).fill(source.scales[0] ?? NaN),
    zeroPoints: new Uint8Array(columns).fill(zeroPoint),
  };
}

/** Adds rows of weight 0 for the padding of the heads that come in. */
export function padHeadRows(source: QuantisedMatrix, headSize: number, paddedSize: number): QuantisedMatrix {
  const headCount = source.rows / headSize;
  const rows = headCount * paddedSize;
  const bytes = new Uint8Array(rows * source.columns).fill(source.zeroPoints[0] ?? 0);
  for (let head = 0; head < headCount; head++) {
    const from = head * headSize * source.columns;
    const length = headSize * source.columns;
    bytes.set(source.bytes.subarray(from, from + length), head * paddedSize * source.columns);
  }
  return { ...source, rows, bytes };
}

/** For each column the sum of (byte − zero point): what a zero point of the other factor is multiplied by. */
export function columnSums(source: QuantisedMatrix): Int32Array {
  const sums = new Int32Array(source.columns);
  for (let row = 0; row < source.rows; row++) {
    for (let column = 0; column < source.columns; column++) {
      const byte = source.bytes[row * source.columns + column] ?? 0;
      sums[column] = (sums[column] ?? 0) + byte - (source.zeroPoints[column] ?? 0);
    }
  }
  return sums;
}

/**
 * The same product with each head's first `rotarySize` columns turned by a right angle, pair by pair: what a rotary
 * embedding adds, times the sine. The other columns give 0.
 */
export function quarterTurned(
  source: QuantisedMatrix,
  { headSize, rotarySize }: { readonly headSize: number; readonly rotarySize: number },
): QuantisedMatrix {
  const { rows, columns, bytes } = source;
  const turned = { ...source, bytes: new Uint8Array(bytes.length), scales: new Float32Array(columns) };
  for (let column = 0; column < columns; column++) {
    if (column % headSize >= rotarySize) continue;
    const isFirst = (column % headSize) % 2 === 0;
    const from = isFirst ? column + 1 : column - 1;
    turned.scales[column] = (isFirst ? -1 : 1) * (source.scales[from] ?? NaN);
    for (let row = 0; row < rows; row++) {
      turned.bytes[row * columns + column] = bytes[row * columns + from] ?? 0;
    }
  }
  return turned;
}

/** The numbers that the bytes stand for, row by row. */
export function dequantised({ columns, bytes, scales, zeroPoints }: QuantisedMatrix): Float32Array {
  return Float32Array.from(bytes, (byte, at) => {
    const column = at % columns;
    return (byte - (zeroPoints[column] ?? 0)) * (scales[column] ?? NaN);
  });
}
