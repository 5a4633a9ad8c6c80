/**
 * One native compression stream for many clusters. The `...Sync` functions of node:zlib set up a stream for every call,
 * which costs a fifth of inflating a cluster and most of decoding a zstd one. A stream object keeps what it calls itself,
 * `reset` and `writeSync`, on a handle that is not documented: so its shape and an answer are checked before it is
 * trusted, and without it the documented functions do the work.
 */

/** The part of a zlib stream that is used here. */
export interface ZlibStream {
  readonly destroyed: boolean;
  on(event: "error", listener: () => void): unknown;
}

interface Handle {
  reset(): void;
  writeSync(
    flush: number,
    input: Uint8Array,
    inputOffset: number,
    inputLength: number,
    output: Uint8Array,
    outputOffset: number,
    outputLength: number,
  ): void;
}

export interface StreamResult {
  /** Bytes of the input that were not used. */
  readonly inputLeft: number;
  /** Bytes of the output that were not filled. */
  readonly outputLeft: number;
}

export interface ReusedStreamOptions {
  readonly make: () => ZlibStream;
  /**
   * False for streams that begin anew by themselves after each input, and would forget their options if they were reset:
   * Zstandard's compressor.
   */
  readonly resets: boolean;
}

export class ReusedStream {
  readonly #make: () => ZlibStream;
  readonly #resets: boolean;
  #current: { readonly stream: ZlibStream; readonly handle: Handle; readonly state: Uint32Array } | undefined;

  private constructor({ make, resets }: ReusedStreamOptions) {
    this.#make = make;
    this.#resets = resets;
  }

  /**
   * Undefined where streams are not what they are known to be, or `works` is not content with what this one does.
   * `make` may throw: for options that are wrong.
   */
  static create(
    options: ReusedStreamOptions,
    works: (stream: ReusedStream) => boolean,
  ): ReusedStream | undefined {
    const stream = new ReusedStream(options);
    return works(stream) ? stream : undefined;
  }

  /** Gives the stream one whole input; undefined if it is damaged, or there is no such stream. */
  run(flush: number, input: Uint8Array, output: Uint8Array): StreamResult | undefined {
    this.#current ??= this.#open();
    if (this.#current === undefined) return undefined;
    const { stream, handle, state } = this.#current;
    if (this.#resets) handle.reset();
    handle.writeSync(flush, input, 0, input.length, output, 0, output.length);
    if (stream.destroyed) {
      // After an error it does not work any more; the next input gets a new one.
      this.#current = undefined;
      return undefined;
    }
    const [outputLeft, inputLeft] = [state[0] as number, state[1] as number];
    // Without a reset, what it has not done yet would come out with the next input.
    if (!this.#resets && (inputLeft > 0 || outputLeft === 0)) this.#current = undefined;
    return { outputLeft, inputLeft };
  }

  #open(): { readonly stream: ZlibStream; readonly handle: Handle; readonly state: Uint32Array } | undefined {
    const stream = this.#make();
    // The error is told by what `run` returns; without a listener it would end the process.
    stream.on("error", () => {});
    const handle: unknown = Reflect.get(stream, "_handle");
    const state: unknown = Reflect.get(stream, "_writeState");
    if (!isHandle(handle) || !(state instanceof Uint32Array) || state.length !== 2) return undefined;
    return { stream, handle, state };
  }
}

function isHandle(handle: unknown): handle is Handle {
  return (
    typeof handle === "object" &&
    handle !== null &&
    typeof Reflect.get(handle, "reset") === "function" &&
    typeof Reflect.get(handle, "writeSync") === "function"
  );
}
