/** What the files of the generated disk hold: pools of text and of machine code that files are cut from, and noise. */
import { Random } from "./random.ts";

/** text: sources, documents, configuration. binary: programs and libraries. packed: already compressed. zero: written zeroes. */
export type ContentKind = "text" | "binary" | "packed" | "zero";

const POOL_BYTES = 8 * 2 ** 20;

/**
 * Content by kind. Files are cut from pools at random places: qcow2 compresses each cluster by itself, so what is
 * repeated far apart on the disk helps no tool.
 */
export class ContentSource {
  readonly #text: Uint8Array;
  readonly #binary: Uint8Array;
  readonly #random: Random;

  constructor(seed: number) {
    this.#text = textPool(new Random(seed, "text"));
    this.#binary = binaryPool(new Random(seed, "binary"), this.#text);
    this.#random = new Random(seed, "content");
  }

  /** Fills `into` completely. */
  fill(kind: ContentKind, into: Uint8Array): void {
    if (kind === "packed") this.#random.fill(into);
    else if (kind === "zero") into.fill(0);
    else this.#cut(kind === "text" ? this.#text : this.#binary, into);
  }

  #cut(pool: Uint8Array, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const start = this.#random.below(pool.length);
      const piece = pool.subarray(start, start + into.length - done);
      into.set(piece, done);
      done += piece.length;
    }
  }
}

const VOCABULARY_WORDS = 6000;
/** The more often a letter stands here, the more often it is drawn. */
const LETTERS =
  "eeeeeeeeeeeetttttttttaaaaaaaaooooooooiiiiiiinnnnnnnssssssrrrrrrhhhhhlllldddduuucccmmmffyywwggppbbvk";

function textPool(random: Random): Uint8Array {
  const words = Array.from({ length: VOCABULARY_WORDS }, () => drawWord(random));
  const pool = new Uint8Array(POOL_BYTES);
  const encoder = new TextEncoder();
  for (let used = 0; used < pool.length; ) {
    const section = pool.subarray(used, used + random.between(4096, 65_536));
    const repeats = drawRepeats(random);
    for (let filled = 0; filled < section.length; ) {
      filled +=
        random.below(100) < repeats
          ? repeatRecent(random, section, filled)
          : encoder.encodeInto(drawLine(random, words), section.subarray(filled)).written;
    }
    used += section.length;
  }
  return pool;
}

/** How often, in per cent, a section says again what it just said: from prose to logs and tables. */
function drawRepeats(random: Random): number {
  return random.between(0, 95);
}

const RECENT_BYTES = 2048;

/** Copies some of the last bytes before `used`; what compression lives on. @returns the bytes copied */
function repeatRecent(random: Random, bytes: Uint8Array, used: number): number {
  const length = Math.min(random.between(12, 90), used, bytes.length - used);
  if (length === 0) return 0;
  const from = Math.max(0, used - random.between(length, RECENT_BYTES));
  bytes.copyWithin(used, from, from + length);
  return length;
}

/** Mostly near zero. Products and not Math.pow, whose last bit may differ between platforms. */
function smallFraction(random: Random): number {
  const fraction = random.fraction();
  const square = fraction * fraction;
  return square * square;
}

function drawWord(random: Random): string {
  const length = 2 + Math.floor(random.fraction() * random.fraction() * 12);
  return Array.from({ length }, () => LETTERS[random.below(LETTERS.length)]!).join("");
}

function drawLine(random: Random, words: readonly string[]): string {
  let line = " ".repeat(2 * random.below(4));
  const length = 20 + random.below(70);
  while (line.length < length) {
    const kind = random.below(16);
    if (kind === 0) line += String(random.below(100_000));
    // Few words are most of a text: the rank's density falls steeply.
    else line += words[Math.floor(words.length * smallFraction(random))]!;
    line += kind === 1 ? ", " : kind === 2 ? "(" : kind === 3 ? ") " : kind === 4 ? "_" : " ";
  }
  return `${line}\n`;
}

const TEMPLATES = 1500;

/** Sections as in programs: mostly instructions, then tables of addresses, strings, padding and noise. */
function binaryPool(random: Random, text: Uint8Array): Uint8Array {
  const templates = Array.from({ length: TEMPLATES }, () => {
    const template = new Uint8Array(random.between(2, 6));
    random.fill(template);
    return template;
  });
  const pool = new Uint8Array(POOL_BYTES);
  for (let used = 0; used < pool.length; ) {
    const section = pool.subarray(used, used + random.between(2048, 24_576));
    const kind = random.below(100);
    if (kind < 64) fillInstructions(random, templates, section);
    else if (kind < 78) fillAddresses(random, section);
    else if (kind < 90) section.set(text.subarray(used, used + section.length));
    else if (kind < 96) random.fill(section);
    // The rest stays zero: padding.
    used += section.length;
  }
  return pool;
}

function fillInstructions(random: Random, templates: readonly Uint8Array[], into: Uint8Array): void {
  const repeats = drawRepeats(random) / 2;
  for (let used = 0; used < into.length; ) {
    if (random.below(100) < repeats) {
      used += repeatRecent(random, into, used);
      continue;
    }
    const template = templates[Math.floor(templates.length * smallFraction(random))]!;
    into.set(template.subarray(0, into.length - used), used);
    used += template.length;
    // Operands: a small displacement, or a 32-bit one whose upper bytes are all zeroes or all ones.
    const operand = random.below(8);
    if (operand < 3) into[used++] = random.below(64) * 4;
    else if (operand === 3) {
      const sign = random.below(2) * 0xff;
      for (const byte of [random.below(256), random.below(256), sign, sign]) into[used++] = byte;
    }
  }
}

function fillAddresses(random: Random, into: Uint8Array): void {
  const view = new DataView(into.buffer, into.byteOffset, into.length);
  let address = random.below(2 ** 24);
  for (let used = 0; used + 8 <= into.length; used += 8) {
    address = (address + 8 * random.below(64)) >>> 0;
    view.setUint32(used, address, true);
  }
}
