/** The messages that ONNX files are made of. */
import { createRequire } from 'node:module';
import type * as onnxProto from 'onnx-proto';

/**
 * Required, not imported: of an import Node would read the package's megabyte for the names that it exports, and that is
 * a quarter of the time in which an audio worker starts.
 */
export const { onnx } = createRequire(import.meta.url)('onnx-proto') as typeof onnxProto;
export type { onnx as Onnx } from 'onnx-proto';
