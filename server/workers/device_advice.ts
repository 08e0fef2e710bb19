/** What to do about a device that does not work, told from the last words of the worker that was to run on it. */
import type { DeathCause } from '../../pipeline/supervised_worker.ts';

interface Advice {
  readonly words: RegExp;
  readonly advice: string;
}

/** The first that fits counts. */
const ADVICE: readonly Advice[] = [
  {
    words: /providers_shared|providers_cuda|Cuda: Failed to load shared library/i,
    advice:
      'the CUDA provider is not installed or lacks a library of CUDA 12 or cuDNN 9: ' +
      '`earwitness devices install cuda`, and see "Accelerators" in the README',
  },
  { words: /backend not found/i, advice: 'ONNX Runtime has no such provider on this system' },
  {
    words: /No supported adapters|Failed to get a WebGPU adapter|INCOMPATIBLE_DRIVER|libvulkan/i,
    advice:
      'no GPU with a Vulkan driver is to be seen: install libvulkan1 and the driver of the GPU, ' +
      'and in a container pass the GPU with its graphics capability',
  },
  {
    words: /no CUDA-capable device|CUDA failure 100\b/i,
    advice: 'there is no NVIDIA GPU, or it is not passed to this container',
  },
  {
    words: /CUDA failure 35\b|driver version is insufficient/i,
    advice: 'the NVIDIA driver is too old for CUDA 12: 525 or later',
  },
  { words: /invalid device ordinal|CUDA failure 101\b/i, advice: 'there are not so many GPUs' },
  { words: /no memory|out of memory/i, advice: 'the device has not enough free memory' },
  { words: /must hear/i, advice: 'it computes wrong results: the canary phrase was misheard' },
];

/** One sentence for the operator. */
export function describeDeviceFault(
  device: string,
  death: { readonly cause: DeathCause; readonly lastWords: string },
): string {
  if (death.cause === 'deadline') return 'it is much too slow: a batch outlived its deadline';
  const found = ADVICE.find(({ words }) => words.test(death.lastWords));
  if (found !== undefined) return found.advice;
  const lines = death.lastWords.split('\n').map((line) => line.trim());
  const error =
    lines.find((line) => /error|earwitness:/i.test(line)) ?? lines.findLast((line) => line !== '');
  if (error !== undefined) return error;
  return death.cause === 'start'
    ? `a worker on ${device} was not ready in time`
    : `a worker on ${device} died`;
}
