/** A small repeatable random generator (xorshift32): the same seed makes the same disk everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** 32 random bits. */
  uint32(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state;
  }

  /** An integer from 0 to `limit`, exclusive. */
  below(limit: number): number {
    return this.uint32() % limit;
  }

  /** One of the items, which must not be empty. */
  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }

  /** Bytes that do not compress, like media and archives. */
  bytes(length: number): Uint8Array {
    const words = new Uint32Array(Math.ceil(length / 4));
    for (let index = 0; index < words.length; index++) words[index] = this.uint32();
    // Spelled out in little-endian order, so that the disk does not depend on the machine.
    const bytes = new Uint8Array(words.length * 4);
    const view = new DataView(bytes.buffer);
    for (let index = 0; index < words.length; index++) view.setUint32(index * 4, words[index]!, true);
    return bytes.subarray(0, length);
  }
}
