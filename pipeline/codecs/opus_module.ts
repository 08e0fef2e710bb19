/** The compiled Opus codec: libopus as WebAssembly, from the `@evan/opus` package, checked against its hash. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { ConfigError } from '../errors.ts';

/** Which of the package's two builds is in use; a state saved by one is not valid in the other. */
export type OpusBuild = 'simd' | 'plain';

/** The functions of libopus we call. All `…Pointer` arguments are addresses in `memory`. */
export interface OpusExports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly _initialize: () => void;
  readonly malloc: (bytes: number) => number;
  readonly free: (pointer: number) => void;
  readonly opus_decoder_get_size: (channels: number) => number;
  readonly opus_decoder_init: (decoderPointer: number, sampleRateHz: number, channels: number) => number;
  readonly opus_decode: (
    ...call: [
      decoderPointer: number,
      packetPointer: number,
      packetBytes: number,
      pcmPointer: number,
      pcmMaxSamples: number,
      useFec: number,
    ]
  ) => number;
}

// TypeScript declares WebAssembly only in its DOM library, which a server has no business including.
declare const WebAssembly: {
  validate(bytes: Uint8Array): boolean;
  compile(bytes: Uint8Array): Promise<object>;
  Instance: new (
    module: object,
    imports: Readonly<Record<string, Readonly<Record<string, (...values: number[]) => number>>>>,
  ) => { readonly exports: OpusExports };
};

const FILES: Readonly<Record<OpusBuild, { specifier: string; sha256: string }>> = {
  simd: {
    specifier: '@evan/opus/wasm/simd.wasm',
    sha256: '47705009f5a81ccf6b091d45b6e8f75d3f419ff27b75145c6c9a85d9dbd6f51c',
  },
  plain: {
    specifier: '@evan/opus/wasm/opus.wasm',
    sha256: 'd946657d3817d64e852462bcef490ad9fa3f54eb41fe7dd9048f185661f7c386',
  },
};

/** The smallest module with a SIMD instruction (`i8x16.splat`): valid only where SIMD is. */
const SIMD_PROBE = Uint8Array.of(
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // magic, version 1
  ...[0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b], // type: () -> v128
  ...[0x03, 0x02, 0x01, 0x00], // one function of that type
  ...[0x0a, 0x08, 0x01, 0x06, 0x00, 0x41, 0x00, 0xfd, 0x0f, 0x0b], // i32.const 0; i8x16.splat; end
);

/** Throws `ConfigError` (`bad_config`) unless `bytes` have the hash this code was tested with. */
export function assertOpusHash(build: OpusBuild, bytes: Uint8Array): void {
  const found = createHash('sha256').update(bytes).digest('hex');
  const { specifier, sha256 } = FILES[build];
  if (found === sha256) return;
  throw new ConfigError(
    'bad_config',
    `Refused to load ${specifier}: its sha256 is ${found}, expected ${sha256}. Install the locked version of @evan/opus.`,
  );
}

/** The codec, compiled once per process; every shard is an instance of it. */
export class OpusModule {
  readonly build: OpusBuild;
  readonly #module: object;

  private constructor(build: OpusBuild, module: object) {
    this.build = build;
    this.#module = module;
  }

  /**
   * Reads, verifies and compiles the codec (about 15 ms). `build` is chosen by what the processor can do unless
   * given. Throws `ConfigError` (`bad_config`) for a file that is not the one this code was tested with.
   */
  static async load(
    build: OpusBuild = WebAssembly.validate(SIMD_PROBE) ? 'simd' : 'plain',
  ): Promise<OpusModule> {
    const path = createRequire(import.meta.url).resolve(FILES[build].specifier);
    const bytes = await readFile(path);
    assertOpusHash(build, bytes);
    return new OpusModule(build, await WebAssembly.compile(bytes));
  }

  /** A new instance with memory of its own; it can reach nothing outside it. */
  instantiate(): OpusExports {
    const exports = new WebAssembly.Instance(this.#module, {
      env: { emscripten_notify_memory_growth: () => 0 },
      wasi_snapshot_preview1: {
        // libopus writes only when an assertion fails, right before proc_exit; there is no file behind it.
        fd_write: () => 0,
        fd_seek: () => 0,
        fd_close: () => 0,
        proc_exit: (status) => assert.fail(`libopus ended itself with status ${String(status)}`),
      },
    }).exports;
    exports._initialize();
    return exports;
  }
}
