/** The environment of every process that loads ONNX Runtime. */

/**
 * Builds of ONNX Runtime carry a telemetry client (1DS) that is on by default: it makes up a device id, keeps it and a
 * queue of events in `~/.cache/Microsoft`, and sends them to Microsoft. Seen in onnxruntime-node 1.30; nobody asked for
 * it here. It is read when the library is loaded, so it has to be there before.
 */
const NO_TELEMETRY = { ORT_DISABLE_TELEMETRY: '1' };

/**
 * Has glibc (2.35 and later; others ignore it) ask Linux for huge pages, where Linux gives them to who asks. Measured on
 * a virtual machine, where each new page is dear: a model is loaded in three quarters of the time, speech is heard in 0.93
 * of it, memory is the same. It is read when a process starts. What the operator has set is left alone.
 */
const HUGE_PAGES = { GLIBC_TUNABLES: process.env['GLIBC_TUNABLES'] ?? 'glibc.malloc.hugetlb=1' };

export const RUNTIME_ENVIRONMENT: Readonly<Record<string, string>> = { ...NO_TELEMETRY, ...HUGE_PAGES };
