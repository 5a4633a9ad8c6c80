/** Standard output in large writes, waiting for whoever reads it: memory stays bounded by one chunk. */
import type { Writable } from "node:stream";

const CHUNK_CHARACTERS = 65536;

export class Printer {
  readonly #stream: Writable;
  #pending = "";
  #readerIsGone = false;

  constructor(stream: Writable) {
    this.#stream = stream;
    // A reader that went away (`qcow2 map ... | head`) is no failure of the command; qemu-img ignores it too.
    stream.on("error", () => {
      this.#readerIsGone = true;
    });
  }

  async print(text: string): Promise<void> {
    if (this.#readerIsGone) return;
    this.#pending += text;
    if (this.#pending.length >= CHUNK_CHARACTERS) await this.flush();
  }

  async flush(): Promise<void> {
    const text = this.#pending;
    this.#pending = "";
    if (text === "" || this.#readerIsGone) return;
    await new Promise<void>((resolve) => {
      this.#stream.write(text, () => resolve());
    });
  }
}
