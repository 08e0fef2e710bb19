/** What benchmarks count in: processor time, which a busy neighbour disturbs less than the clock. */
import { cpus } from 'node:os';
import { createRequire } from 'node:module';
import { samplesToMs } from '../../pipeline/audio.ts';

/** Processor time of this process so far, all threads together. */
export function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** The middle one; NaN of none. */
export function median(values: readonly number[]): number {
  return [...values].sort((some, other) => some - other)[values.length >> 1] ?? NaN;
}

/** Share of one core's time that so much processor time for so much audio is. */
export function realTimeFactor(costMs: number, samples: number): number {
  return costMs / samplesToMs(samples);
}

/** One line that says what the figures below it were measured on. */
export function machineLine(...packages: readonly string[]): string {
  const require = createRequire(import.meta.url);
  const versions = packages.map((name) => {
    const { version } = require(`${name}/package.json`) as { readonly version: string };
    return `${name} ${version}`;
  });
  const processor = `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores`;
  return [processor, `Node ${process.versions.node}`, ...versions].join('; ');
}
