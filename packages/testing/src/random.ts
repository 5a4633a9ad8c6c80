/** Pseudo-random numbers by seed: the same seed gives the same bytes on every machine and runtime. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** The next integer in 0 .. 2^32 - 1 (mulberry32). */
  uint32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** The next integer in 0 .. `below` - 1; `below` is at most 2^53. */
  below(below: number): number {
    if (below <= 2 ** 32) return this.uint32() % below;
    return (this.uint32() * 2 ** 21 + (this.uint32() >>> 11)) % below;
  }

  /** One of `choices`. */
  pick<Choice>(choices: readonly Choice[]): Choice {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined) throw new RangeError("nothing to pick from");
    return choice;
  }
}
