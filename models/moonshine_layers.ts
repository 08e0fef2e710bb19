/** The pieces that Moonshine's encoder and decoder are both made of. */
import { CONTRIB_DOMAIN, type GraphBuilder, type Value } from './graph_builder.ts';
import { LONGEST_SEQUENCE, ROTARY_SIZE } from './moonshine_facts.ts';

/** Angles of the rotary position embedding: `[positions, ROTARY_SIZE / 2]` cosines and sines. */
export interface RotaryTables {
  readonly cosines: Value;
  readonly sines: Value;
}

/** Rotary position embedding (Su et al. 2021, arXiv:2104.09864), base 10,000, computed once instead of in each run. */
export function rotaryTables(graph: GraphBuilder): RotaryTables {
  const half = ROTARY_SIZE / 2;
  const angles = Array.from({ length: LONGEST_SEQUENCE * half }, (_, at) => {
    const position = Math.floor(at / half);
    return Math.fround(position * Math.fround(1 / 10_000 ** ((at % half) / half)));
  });
  const shape = [LONGEST_SEQUENCE, half];
  return {
    cosines: graph.floats(shape, angles.map(Math.cos)),
    sines: graph.floats(shape, angles.map(Math.sin)),
  };
}

/**
 * The stream of activations between the layers. Each branch's result is added when the next norm is computed, by
 * default in one fused node instead of the published ten. On processors that node is slow for many rows (seen: seven
 * times as long as the two apart for 84 of them), and quick for one.
 */
export class ResidualStream {
  readonly #graph: GraphBuilder;
  readonly #additions: 'fused' | 'apart';
  #sum: Value;
  #pending: Value | undefined;

  constructor(graph: GraphBuilder, start: Value, additions: 'fused' | 'apart' = 'fused') {
    this.#graph = graph;
    this.#additions = additions;
    this.#sum = start;
  }

  add(branch: Value): void {
    this.#pending = branch;
  }

  /** The layer norm (gain only, epsilon 1e-5) of all that was added so far. */
  norm(gain: Float32Array): Value {
    const weights = this.#graph.floats([gain.length], gain);
    const epsilon = { float: 1e-5 };
    if (this.#pending !== undefined && this.#additions === 'apart') {
      this.#sum = this.#graph.node('Add', [this.#sum, this.#pending]);
      this.#pending = undefined;
    }
    if (this.#pending === undefined) {
      return this.#graph.node('LayerNormalization', [this.#sum, weights], { axis: -1, epsilon });
    }
    const [normed, sum] = [this.#graph.fresh(), this.#graph.fresh()];
    this.#graph.add({
      operator: 'SkipLayerNormalization',
      domain: CONTRIB_DOMAIN,
      inputs: [this.#sum, this.#pending, weights],
      outputs: [normed, '', '', sum],
      attributes: { epsilon },
    });
    this.#sum = sum;
    this.#pending = undefined;
    return normed;
  }
}
