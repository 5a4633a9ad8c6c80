/** The decoding table of one kind of sequence code (RFC 8878, section 3.1.1.3.2.1), kept from block to block. */
import type { BlockInput } from "./block-input.ts";
import { FseDistribution } from "./fse-distribution.ts";
import { buildFseStates } from "./fse-states.ts";
import type { SequenceCodes } from "./sequence-codes.ts";

const PREDEFINED = 0;
const RLE = 1;
const FSE = 2;
const MAX_ENTRIES = 512;

/** What the table was made of, so that a predefined one is not made again. */
type Content = "nothing" | "predefined" | "other";

export class SequenceTable {
  /** By state: what to add to the bits of the next state, their number (shifted by 16), additional bits (by 24). */
  readonly transitions: Uint32Array = new Uint32Array(MAX_ENTRIES);
  /** By state: the code's least value. */
  readonly baselines: Uint32Array = new Uint32Array(MAX_ENTRIES);
  /** Bits of the first state. */
  log = 0;
  readonly #codes: SequenceCodes;
  readonly #distribution = new FseDistribution();
  readonly #symbols = new Uint8Array(MAX_ENTRIES);
  readonly #bits = new Uint8Array(MAX_ENTRIES);
  readonly #bases = new Uint16Array(MAX_ENTRIES);
  #content: Content = "nothing";
  #isOfThisFrame = false;

  constructor(codes: SequenceCodes) {
    this.#codes = codes;
  }

  /** A new frame begins without tables. */
  beginFrame(): void {
    this.#isOfThisFrame = false;
  }

  /**
   * Takes the table that `mode` asks for; returns the index of the first byte behind its description, if it has one.
   * @throws ZstdError "corrupt"
   */
  take(block: BlockInput, mode: number, at: number): number {
    if (mode === PREDEFINED) {
      this.#usePredefined();
    } else if (mode === RLE) {
      block.assertWithin(at + 1);
      this.#useOneCode(block, at);
      at++;
    } else if (mode === FSE) {
      this.#content = "nothing";
      const { maxLog, bits } = this.#codes;
      at = this.#distribution.read(block, at, { end: block.end, maxLog, maxSymbol: bits.length - 1 });
      this.#build();
      this.#content = "other";
    } else if (!this.#isOfThisFrame) {
      throw block.corrupt(`A zstd block that repeats a table of ${this.#codes.name}s where none was`, at);
    }
    this.#isOfThisFrame = true;
    return at;
  }

  #usePredefined(): void {
    if (this.#content === "predefined") return;
    this.#distribution.set(this.#codes.predefined, this.#codes.predefinedLog);
    this.#build();
    this.#content = "predefined";
  }

  #useOneCode(block: BlockInput, at: number): void {
    const code = block.bytes[at] as number;
    const { name, bits, baselines } = this.#codes;
    if (code >= bits.length) throw block.corrupt(`A zstd ${name} code of ${code}`, at);
    this.log = 0;
    this.transitions[0] = (bits[code] as number) << 24;
    this.baselines[0] = baselines[code] as number;
    this.#content = "other";
  }

  #build(): void {
    const { bits, baselines } = this.#codes;
    const states = { symbols: this.#symbols, bits: this.#bits, bases: this.#bases };
    buildFseStates(this.#distribution, states);
    this.log = this.#distribution.log;
    for (let state = 0; state < 2 ** this.log; state++) {
      const code = this.#symbols[state] as number;
      this.transitions[state] =
        (this.#bases[state] as number) |
        ((this.#bits[state] as number) << 16) |
        ((bits[code] as number) << 24);
      this.baselines[state] = baselines[code] as number;
    }
  }
}
