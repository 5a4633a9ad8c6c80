/** Literal length, match length and offset codes (RFC 8878, section 3.1.1.3.2.1.1): baseline and additional bits. */

/** By code: the least value, and how many bits are to be read and added to it. */
export interface SequenceCodes {
  readonly name: string;
  readonly baselines: readonly number[];
  readonly bits: readonly number[];
  /** Of an FSE table for these codes, at most (section 3.1.1.3.2.1). */
  readonly maxLog: number;
  /** The distribution that blocks may use without describing it (section 3.1.1.3.2.2). */
  readonly predefined: readonly number[];
  readonly predefinedLog: number;
}

const count = (length: number, from = 0): number[] => Array.from({ length }, (_, index) => from + index);
const repeat = (value: number, times: number): number[] => new Array<number>(times).fill(value);

const LITERAL_LENGTH_BITS = [...repeat(0, 16), ...repeat(1, 4), 2, 2, 3, 3, 4, ...count(11, 6)];

export const LITERAL_LENGTHS: SequenceCodes = {
  name: "literal length",
  baselines: baselinesOf(LITERAL_LENGTH_BITS, 0),
  bits: LITERAL_LENGTH_BITS,
  maxLog: 9,
  predefined: [4, 3, ...repeat(2, 11), 1, 1, 1, ...repeat(2, 9), 3, 2, ...repeat(1, 5), ...repeat(-1, 4)],
  predefinedLog: 6,
};

const MATCH_LENGTH_BITS = [...repeat(0, 32), ...repeat(1, 4), 2, 2, 3, 3, 4, 4, 5, ...count(10, 7)];
const MIN_MATCH = 3;

export const MATCH_LENGTHS: SequenceCodes = {
  name: "match length",
  baselines: baselinesOf(MATCH_LENGTH_BITS, MIN_MATCH),
  bits: MATCH_LENGTH_BITS,
  maxLog: 9,
  predefined: [1, 4, 3, ...repeat(2, 6), ...repeat(1, 37), ...repeat(-1, 7)],
  predefinedLog: 6,
};

const MAX_OFFSET_CODE = 31;

export const OFFSETS: SequenceCodes = {
  name: "offset",
  baselines: count(MAX_OFFSET_CODE + 1).map((code) => 2 ** code),
  bits: count(MAX_OFFSET_CODE + 1),
  maxLog: 8,
  predefined: [...repeat(1, 6), 2, 2, 2, ...repeat(1, 15), ...repeat(-1, 5)],
  predefinedLog: 5,
};

/** Each code begins where the values of the one before it end. */
function baselinesOf(bits: readonly number[], first: number): number[] {
  const baselines: number[] = [];
  let next = first;
  for (const width of bits) {
    baselines.push(next);
    next += 2 ** width;
  }
  return baselines;
}
