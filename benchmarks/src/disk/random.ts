/** Random numbers that are the same on every machine and Node.js release for the same seed. Not for secrets. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param stream numbers of different streams of one seed are unrelated */
  constructor(seed: number, stream: string) {
    let state = seed >>> 0;
    // FNV-1a: the stream's name becomes part of the seed.
    for (let index = 0; index < stream.length; index++) {
      state = Math.imul(state ^ stream.charCodeAt(index), 0x01000193) >>> 0;
    }
    const next = (): number => {
      // splitmix32, so that seeds that differ in one bit start far apart.
      state = (state + 0x9e3779b9) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
      return (mixed ^ (mixed >>> 15)) >>> 0;
    };
    this.#a = next();
    this.#b = next() ^ seed;
    this.#c = next();
  }

  /** 0 to 2^32 - 1 (sfc32). */
  uint32(): number {
    const result = (this.#a + this.#b + this.#counter++) >>> 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result;
  }

  /** 0 inclusive to 1 exclusive. */
  fraction(): number {
    return this.uint32() / 2 ** 32;
  }

  /** 0 inclusive to `end` exclusive. */
  below(end: number): number {
    return Math.floor(this.fraction() * end);
  }

  /** Both ends inclusive. */
  between(first: number, last: number): number {
    return first + this.below(last - first + 1);
  }

  /** Fills whole bytes with noise that no codec can shrink. */
  fill(into: Uint8Array): void {
    let index = 0;
    for (; index + 4 <= into.length; index += 4) {
      const word = this.uint32();
      into[index] = word;
      into[index + 1] = word >>> 8;
      into[index + 2] = word >>> 16;
      into[index + 3] = word >>> 24;
    }
    for (; index < into.length; index++) into[index] = this.uint32();
  }
}
