/** Those who look at an image while others change it: each has to see it as it was at some moment meanwhile. */
import type { Qcow2Image } from "@qcow2/core";
import type { Random } from "../random.ts";
import { expectEnd, expectNoCorruption } from "./sound-image.ts";

const SECTOR = 512;

export class Watchers {
  /** The disk in every state so far. */
  readonly states: Uint8Array[];
  readonly #random: Random;
  /** What was seen, held against the states when all of them are known. */
  readonly #looks: { readonly ended: Promise<unknown>; judge: (() => void) | undefined }[] = [];

  constructor(random: Random, disk: Uint8Array) {
    this.#random = random;
    this.states = [disk];
  }

  read(image: Qcow2Image): void {
    const offset = Math.floor(this.#random.below(Math.max(1, image.size)) / SECTOR) * SECTOR;
    const length = Math.max(0, Math.min(1 + this.#random.below(30_000), image.size - offset));
    const into = new Uint8Array(length).fill(0xa5);
    this.#watch(image.read({ offset, into }), () => [{ offset, bytes: into }]);
  }

  map(image: Qcow2Image): void {
    const { size } = image;
    const zeroes: { readonly offset: number; readonly bytes: Uint8Array }[] = [];
    const look = async (): Promise<void> => {
      let at = 0;
      for await (const { kind, offset, length } of image.map()) {
        if (offset !== at) throw new Error(`the map goes from ${at} to ${offset}`);
        at += length;
        if (kind === "zero") zeroes.push({ offset, bytes: new Uint8Array(length) });
      }
      if (at !== size) throw new Error(`the map of ${size} bytes ends at ${at}`);
    };
    this.#watch(look(), () => zeroes);
  }

  /** A check finds nothing, whatever is under way. */
  async check(image: Qcow2Image): Promise<void> {
    await expectNoCorruption(image, { noLeaks: true });
  }

  /** The states of the requests that were waited for are known now. */
  endBatch(): void {
    for (const look of this.#looks.splice(0)) {
      if (look.judge === undefined) this.#looks.push(look);
      else look.judge();
    }
  }

  /** Waits for all who look. */
  async end(): Promise<void> {
    await expectEnd("looking", Promise.all(this.#looks.map(({ ended }) => ended)));
    this.endBatch();
  }

  #watch(
    work: Promise<void>,
    seen: () => readonly { readonly offset: number; readonly bytes: Uint8Array }[],
  ): void {
    const first = this.states.length - 1;
    const judge = (): void => {
      for (const { offset, bytes } of seen()) this.#expectKnown(offset, bytes, this.states.slice(first));
    };
    const look: { ended: Promise<unknown>; judge: (() => void) | undefined } = {
      ended: work.then(
        () => {
          look.judge = judge;
        },
        (error: unknown) => {
          look.judge = () => {
            throw error;
          };
        },
      ),
      judge: undefined,
    };
    this.#looks.push(look);
  }

  #expectKnown(offset: number, bytes: Uint8Array, states: readonly Uint8Array[]): void {
    // Behind the end of a disk that became smaller meanwhile nothing is known.
    const end = Math.min(offset + bytes.length, ...states.map(({ length }) => length));
    for (let at = offset; at < end; at += SECTOR) {
      const until = Math.min(at + SECTOR, end);
      const actual = bytes.subarray(at - offset, until - offset);
      if (states.some((state) => Buffer.compare(state.subarray(at, until), actual) === 0)) continue;
      throw new Error(`somebody who looked at ${offset} saw at ${at} what was not there meanwhile`);
    }
  }
}
