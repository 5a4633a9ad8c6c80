/** Output in large writes, waiting for whoever reads it: memory stays bounded by one chunk. */
import type { Output } from "./output.ts";

const CHUNK_CHARACTERS = 65536;

export class Printer {
  readonly #output: Output;
  #pending = "";

  constructor(output: Output) {
    this.#output = output;
  }

  async print(text: string): Promise<void> {
    this.#pending += text;
    if (this.#pending.length >= CHUNK_CHARACTERS) await this.flush();
  }

  async flush(): Promise<void> {
    const text = this.#pending;
    this.#pending = "";
    if (text !== "") await this.#output.write(text);
  }
}
