/** Those who look at an image while others change it: each has to see it as it was at some moment meanwhile. */
import { isQcow2Error, type Qcow2Image } from "@qcow2/core";
import type { Random } from "../random.ts";
import type { BitmapState, ImageState } from "./image-state.ts";
import { expectEnd, expectNoCorruption } from "./sound-image.ts";

const SECTOR = 512;

export class Watchers {
  /** The disk in every state so far. */
  readonly states: Uint8Array[] = [];
  readonly #bitmaps: (readonly BitmapState[])[] = [];
  readonly #random: Random;
  readonly #dirtySets: { readonly name: string; readonly dirty: string }[] = [];
  /** What was seen, held against the states when all of them are known. */
  readonly #looks: { readonly ended: Promise<unknown>; judge: (() => void) | undefined }[] = [];

  constructor(random: Random, state: ImageState) {
    this.#random = random;
    this.add(state);
  }

  /** The image holds this from now on. */
  add({ disk, bitmaps }: ImageState): void {
    this.states.push(disk);
    this.#bitmaps.push(bitmaps);
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
    this.#watch(look().catch(unlessGone), () => zeroes);
  }

  /** The bits of one bitmap, as they were stored at some moment; or it says that others are stored by now. */
  dirtyRanges(image: Qcow2Image): void {
    const { bitmaps } = image.info();
    if (bitmaps.length === 0) return;
    const { name, granularity } = this.#random.pick(bitmaps);
    const dirty: number[] = [];
    const look = async (): Promise<void> => {
      const { ranges, size } = await image.dirtyRanges(name);
      for await (const { start, end } of ranges({ start: 0, end: size })) {
        for (let at = start; at < end; at += granularity) dirty.push(at / granularity);
      }
      this.#dirtySets.push({ name, dirty: dirty.join() });
    };
    this.#watch(look().catch(unlessGone), () => []);
  }

  /** A check finds nothing, whatever is under way. */
  check(image: Qcow2Image): void {
    this.#watch(expectNoCorruption(image, { noLeaks: true }), () => []);
  }

  /** The states of the requests that were waited for are known now. */
  endBatch(): void {
    for (const look of this.#looks.splice(0)) {
      if (look.judge === undefined) this.#looks.push(look);
      else look.judge();
    }
    for (const { name, dirty } of this.#dirtySets.splice(0)) {
      const isKnown = this.#bitmaps.some((bitmaps) =>
        bitmaps.some((bitmap) => bitmap.name === name && String(bitmap.dirty) === dirty),
      );
      if (!isKnown)
        throw new Error(`somebody saw dirty granules of '${name}' that were never stored: ${dirty}`);
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

/** Whoever looks in steps is told when there is nothing more to look at: another disk or bitmap, or a closed image. */
function unlessGone(error: unknown): void {
  if (["changed", "closed", "bitmap-not-found", "bitmap-in-use"].some((code) => hasCode(error, code))) return;
  throw error;
}

function hasCode(error: unknown, code: string): boolean {
  return isQcow2Error(error) && error.code === code;
}
