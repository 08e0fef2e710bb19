/** Writes ONNX graphs node by node. */
import { toFloat16 } from './float16.ts';
import { onnx, type Onnx } from './onnx_messages.ts';

/** Element types of ONNX tensors (`TensorProto.DataType`). */
export const ELEMENT = {
  float: 1,
  uint8: 2,
  int8: 3,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
} as const;
export type ElementType = (typeof ELEMENT)[keyof typeof ELEMENT];

/** A number becomes an `i` attribute, `{ float }` an `f` attribute, an array `ints`, another graph a `g`. */
export type Attributes = Readonly<
  Record<string, number | readonly number[] | { readonly float: number } | GraphBuilder>
>;
/** Name of a tensor in the graph under construction; the empty name leaves an optional one out. */
export type Value = string;
/** A dimension: its size, or the name of one that is known only at run time. */
export type Dimension = number | string;

/** How 8-bit weights are written: see `fastestWeightType`. */
export type WeightType = 'int8' | 'uint8';
/** How float weights and activations are written. */
export type FloatType = 'float' | 'float16';

/** Operators beyond ONNX that ONNX Runtime has on every device. */
export const CONTRIB_DOMAIN = 'com.microsoft';

function toAttribute(name: string, value: Attributes[string]): Onnx.IAttributeProto {
  const { AttributeType } = onnx.AttributeProto;
  if (typeof value === 'number') return { name, type: AttributeType.INT, i: value };
  if (value instanceof GraphBuilder) return { name, type: AttributeType.GRAPH, g: value.toGraph() };
  if ('float' in value) return { name, type: AttributeType.FLOAT, f: value.float };
  return { name, type: AttributeType.INTS, ints: [...value] };
}

function toValueInfo(
  name: Value,
  type: ElementType,
  shape: readonly Dimension[] | undefined,
): Onnx.IValueInfoProto {
  if (shape === undefined) return { name, type: { tensorType: { elemType: type } } };
  const dim = shape.map((size) => (typeof size === 'string' ? { dimParam: size } : { dimValue: size }));
  return { name, type: { tensorType: { elemType: type, shape: { dim } } } };
}

/** A graph under construction. Names of inner tensors are made up; those of inputs and outputs are the caller's. */
export class GraphBuilder {
  readonly #nodes: Onnx.INodeProto[] = [];
  readonly #constants: Onnx.ITensorProto[] = [];
  readonly #inputs: Onnx.IValueInfoProto[] = [];
  readonly #outputs: Onnx.IValueInfoProto[] = [];
  /** The graph that this one is the body of; itself if it is none. */
  readonly #root: GraphBuilder;
  readonly weightType: WeightType;
  readonly floatType: FloatType;
  #values = 0;

  constructor(weightType: WeightType, options: { floatType?: FloatType; root?: GraphBuilder } = {}) {
    this.weightType = weightType;
    this.floatType = options.floatType ?? 'float';
    this.#root = options.root ?? this;
  }

  /** A graph to be an attribute of a node of this one: it sees this one's values, its constants are kept here. */
  body(): GraphBuilder {
    return new GraphBuilder(this.weightType, { floatType: this.floatType, root: this.#root });
  }

  input(name: Value, type: ElementType, shape: readonly Dimension[]): Value {
    this.#inputs.push(toValueInfo(name, type, shape));
    return name;
  }

  /** Declares an output; the node that writes it names it. A loop's state needs no shape. */
  output(name: Value, type: ElementType, shape?: readonly Dimension[]): Value {
    this.#outputs.push(toValueInfo(name, type, shape));
    return name;
  }

  constant(type: ElementType, dims: readonly number[], elements: ArrayBufferView): Value {
    const name = this.fresh();
    const rawData = new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
    this.#root.#constants.push({ name, dataType: type, dims: [...dims], rawData });
    return name;
  }

  /** A constant of this graph's float type. */
  floats(dims: readonly number[], elements: readonly number[] | Float32Array): Value {
    const floats = Float32Array.from(elements);
    return this.floatType === 'float'
      ? this.constant(ELEMENT.float, dims, floats)
      : this.constant(ELEMENT.float16, dims, toFloat16(floats));
  }

  /** A one-dimensional int64 constant: a shape, axes, split sizes. */
  integers(elements: readonly number[]): Value {
    return this.constant(ELEMENT.int64, [elements.length], BigInt64Array.from(elements, BigInt));
  }

  /** Adds a node with one output. */
  node(operator: string, inputs: readonly Value[], attributes: Attributes = {}): Value {
    const output = this.fresh();
    this.add({ operator, inputs, outputs: [output], attributes });
    return output;
  }

  /** Adds a node with one output from the contrib operators. */
  contrib(operator: string, inputs: readonly Value[], attributes: Attributes = {}): Value {
    const output = this.fresh();
    this.add({ operator, inputs, outputs: [output], attributes, domain: CONTRIB_DOMAIN });
    return output;
  }

  /** Adds a node whose outputs the caller names. */
  add(node: {
    readonly operator: string;
    readonly inputs: readonly Value[];
    readonly outputs: readonly Value[];
    readonly attributes?: Attributes;
    readonly domain?: string;
  }): void {
    const { operator: opType, inputs, outputs, attributes = {}, domain = '' } = node;
    const attribute = Object.entries(attributes).map(([name, value]) => toAttribute(name, value));
    const name = `${opType}_${this.#nodes.length}`;
    this.#nodes.push({ opType, name, domain, input: [...inputs], output: [...outputs], attribute });
  }

  /** Takes over nodes and constants of another graph under their names. */
  adopt(nodes: readonly Onnx.INodeProto[], constants: readonly Onnx.ITensorProto[]): void {
    this.#nodes.push(...nodes);
    this.#constants.push(...constants);
  }

  fresh(): Value {
    return `value_${this.#root.#values++}`;
  }

  /** The finished model as a protobuf message. Operator set 17: the first with LayerNormalization. */
  encode(): Uint8Array {
    return onnx.ModelProto.encode({
      irVersion: 8,
      producerName: 'earwitness',
      opsetImport: [
        { domain: '', version: 17 },
        { domain: CONTRIB_DOMAIN, version: 1 },
      ],
      graph: this.toGraph(),
    }).finish();
  }

  /** The graph alone, as it is at present. */
  toGraph(): Onnx.IGraphProto {
    return {
      name: this.#root === this ? 'earwitness' : 'body',
      node: this.#nodes,
      initializer: this.#constants,
      input: this.#inputs,
      output: this.#outputs,
    };
  }
}
