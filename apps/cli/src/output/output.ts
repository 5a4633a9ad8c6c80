/**
 * Where a command's output goes. A reader that went away (`qcow2 map ... | head`) is no failure of the command; qemu-img
 * ignores it too.
 */
import fs from "node:fs";
import type { Writable } from "node:stream";
import { encodeText } from "@qcow2/core";
import { isTaken, STDOUT } from "./own-descriptors.ts";

/** What a pipe takes without a wait for its reader, wherever Node.js runs. */
const DIRECT_BYTES = 8192;

/** No byte, and half of no character: nothing can be printed for it. */
const MEANINGLESS = /[\u{D800}-\u{DC7F}\u{DD00}-\u{DFFF}]/gu;

/** Text as it is written: names with the very bytes that they have, which need not be UTF-8. */
export function outputBytes(text: string): Uint8Array {
  return encodeText(text.replace(MEANINGLESS, "\uFFFD"));
}

export interface OutputOptions {
  /** Called when the stream is needed, and not before. */
  readonly stream: () => Writable;
  /** The same place, if {@link isPlain} says that it may be written to directly. */
  readonly descriptor?: number | undefined;
}

/**
 * Writes a short output straight to its descriptor: a stream would have the network's modules loaded, which takes
 * longer than many a command. From the first byte that may have to wait on, and once somebody else has the stream, that
 * is written to, so that signals are heard meanwhile and all keep their order.
 */
export class Output {
  /** No terminal. */
  readonly isPlain: boolean;
  readonly #descriptor: number | undefined;
  readonly #makeStream: () => Writable;
  #stream: Writable | undefined;
  #room = DIRECT_BYTES;
  #readerIsGone = false;

  constructor({ stream, descriptor }: OutputOptions) {
    this.#makeStream = stream;
    this.#descriptor = descriptor;
    this.isPlain = descriptor !== undefined;
  }

  get stream(): Writable {
    if (this.#stream === undefined) {
      this.#stream = this.#makeStream();
      this.#stream.on("error", () => {
        this.#readerIsGone = true;
      });
    }
    return this.#stream;
  }

  /** Resolves when the text was taken, or nobody is there to take it. */
  async write(text: string): Promise<void> {
    if (isTaken(STDOUT)) return;
    const bytes = outputBytes(text);
    const rest = bytes.subarray(this.#writeDirectly(bytes));
    if (rest.length === 0 || this.#readerIsGone) return;
    await new Promise<void>((resolve) => {
      this.stream.write(rest, () => resolve());
    });
  }

  /** Returns how many bytes were taken; why the others were not, the stream will tell. */
  #writeDirectly(bytes: Uint8Array): number {
    const fd = this.#descriptor;
    if (fd === undefined || this.#stream !== undefined || bytes.length > this.#room) return 0;
    this.#room -= bytes.length;
    let done = 0;
    try {
      while (done < bytes.length) done += fs.writeSync(fd, bytes, done);
    } catch {
      return done;
    }
    return done;
  }
}

/** True for a file, pipe or socket; terminals, and pipes of Windows, have rules of their own, which streams know. */
export function isPlain(fd: number): boolean {
  if (process.platform === "win32") return false;
  try {
    const stat = fs.fstatSync(fd);
    return stat.isFile() || stat.isFIFO() || stat.isSocket();
  } catch {
    return false;
  }
}
