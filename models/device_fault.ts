/** Tells from the words of ONNX Runtime whether a device can go on. */

/** `memory`: too little for this run, a smaller one may do. `lost`: nothing that it computes from now on is right. */
export type DeviceFault = 'memory' | 'lost';

/** WebGPU (Dawn) and D3D12 say that the device is lost or removed. */
const LOST = /device (is |was )?(lost|removed|hung)|DXGI_ERROR_DEVICE_/i;
/** CUDA errors that stay for the life of the process: address, instruction and launch faults, ECC, device asserts. */
const STICKY_CUDA =
  /\bCUDA (?:failure|error)[ :]*(?:214|700|702|709|710|714|715|716|717|718|719|721)\b|an illegal (?:memory access|instruction) was encountered|misaligned address|unspecified launch failure|device-side assert/i;
const MEMORY =
  /out of memory|failed to allocate memory|(?:CUDA|CUBLAS|CUDNN).{0,40}(?:ALLOC_FAILED|failure 2\b)|E_OUTOFMEMORY|bad_alloc/i;

/** What an error says of the device; undefined if it says nothing of it, as when a graph does not fit its input. */
export function deviceFaultOf(error: unknown): DeviceFault | undefined {
  const text = error instanceof Error ? error.message : String(error);
  if (LOST.test(text) || STICKY_CUDA.test(text)) return 'lost';
  return MEMORY.test(text) ? 'memory' : undefined;
}
