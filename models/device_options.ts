/** How ONNX Runtime is told what to run on. Devices are named as in the settings: `cpu`, `cuda:1`, `webgpu`. */
import type { InferenceSession } from 'onnxruntime-node';

export interface DeviceOptions {
  readonly provider: InferenceSession.ExecutionProviderConfig;
  /** Where results can be left between two graphs; undefined where the binding brings all of them to the host. */
  readonly outputLocation?: 'gpu-buffer';
}

/** True for what is not the CPU. */
export function isAccelerator(device: string): boolean {
  return device !== 'cpu';
}

/** The provider of a device. What is unknown here is left to ONNX Runtime, which says that it is. */
export function deviceOptions(device: string): DeviceOptions {
  const [name = device, index] = device.split(':');
  const deviceId = Number(index ?? 0);
  if (name === 'webgpu') return { provider: 'webgpu', outputLocation: 'gpu-buffer' };
  return name === 'cuda' || name === 'dml' ? { provider: { name, deviceId } } : { provider: name };
}

/**
 * Session options for a worker process: everything on the calling thread unless more threads are asked for, and no
 * thread ever spins, because the worker next door needs the core.
 */
export function sessionOptions(options: {
  readonly device: string;
  readonly threads: number;
}): InferenceSession.SessionOptions {
  return {
    executionProviders: [deviceOptions(options.device).provider],
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
  };
}
