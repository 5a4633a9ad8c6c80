import { Random } from "./random.ts";

/**
 * What a range is filled with: "random" does not compress, "text" compresses well, "stamps" tells for every 512
 * bytes where they belong, so that a misplaced sector shows itself; "mixed" changes between these and zeroes
 * every few KiB; "zeroes" is written out, so that zero detection has something to find.
 */
export type ContentKind = "random" | "text" | "stamps" | "mixed" | "zeroes";

export const CONTENT_KINDS: readonly ContentKind[] = ["random", "text", "stamps", "mixed", "zeroes"];

export interface ContentOptions {
  readonly kind: ContentKind;
  readonly seed: number;
  /** Bytes. */
  readonly length: number;
  /** Where the first byte lies on the disk; "stamps" records it. Default 0. */
  readonly offset?: number;
}

const STAMP_BYTES = 512;
const WORDS =
  "the quick brown cluster jumps over a lazy refcount while tables map every sector of this disk ";

/** Bytes by seed. */
export function content(options: ContentOptions): Uint8Array {
  const bytes = new Uint8Array(options.length);
  fillContent(bytes, options);
  return bytes;
}

function fillContent(bytes: Uint8Array, { kind, seed, offset = 0 }: ContentOptions): void {
  const random = new Random(seed);
  if (kind === "random") fillRandom(bytes, random);
  else if (kind === "text") fillText(bytes, random);
  else if (kind === "stamps") fillStamps(bytes, seed, offset);
  else if (kind === "mixed") fillMixed(bytes, random, offset);
}

function fillRandom(bytes: Uint8Array, random: Random): void {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wholeWords = bytes.length - (bytes.length % 4);
  for (let at = 0; at < wholeWords; at += 4) words.setUint32(at, random.uint32());
  for (let at = wholeWords; at < bytes.length; at++) bytes[at] = random.uint32();
}

function fillText(bytes: Uint8Array, random: Random): void {
  let at = random.below(WORDS.length);
  for (let index = 0; index < bytes.length; index++) {
    bytes[index] = WORDS.charCodeAt(at);
    // Now and then jump, so that it is text and not one pattern repeated.
    at = index % 97 === 96 ? random.below(WORDS.length) : (at + 1) % WORDS.length;
  }
}

function fillStamps(bytes: Uint8Array, seed: number, offset: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; at += STAMP_BYTES) {
    bytes.fill((seed % 255) + 1, at, at + STAMP_BYTES);
    if (at + 12 > bytes.length) break;
    view.setUint32(at, Math.floor((offset + at) / 2 ** 32));
    view.setUint32(at + 4, (offset + at) >>> 0);
    view.setUint32(at + 8, seed);
  }
}

function fillMixed(bytes: Uint8Array, random: Random, offset: number): void {
  for (let at = 0; at < bytes.length; ) {
    const piece = bytes.subarray(at, at + 512 * (1 + random.below(24)));
    const kind = random.pick(CONTENT_KINDS);
    const inner = kind === "mixed" ? "zeroes" : kind;
    fillContent(piece, { kind: inner, seed: random.uint32(), length: piece.length, offset: offset + at });
    at += piece.length;
  }
}
