/** Standard output in large writes, waiting for whoever reads it: memory stays bounded by one chunk. */
import { once } from "node:events";
import type { Writable } from "node:stream";

const CHUNK_CHARACTERS = 65536;

export class Printer {
  readonly #stream: Writable;
  #pending = "";

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  async print(text: string): Promise<void> {
    this.#pending += text;
    if (this.#pending.length >= CHUNK_CHARACTERS) await this.flush();
  }

  async flush(): Promise<void> {
    const text = this.#pending;
    this.#pending = "";
    if (text !== "" && !this.#stream.write(text)) await once(this.#stream, "drain");
  }
}
