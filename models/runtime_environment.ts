/** The environment of every process that loads ONNX Runtime. */

/**
 * Its builds carry a telemetry client (1DS) that is on by default: it makes up a device id, keeps it and a queue of events in
 * `~/.cache/Microsoft`, and sends them to Microsoft. Seen in onnxruntime-node 1.30; nobody asked for it here. It is read
 * when the library is loaded, so it has to be there before.
 */
export const RUNTIME_ENVIRONMENT: Readonly<Record<string, string>> = { ORT_DISABLE_TELEMETRY: '1' };
