/** The words of the command line, with every byte of them. */
import fs from "node:fs";
import { decodeText } from "@qcow2/core";
import { CommandError } from "./errors/command-errors.ts";

/** What Node.js puts in place of bytes that are no UTF-8. */
const REPLACEMENT = "\uFFFD";
const NUL = 0;

/**
 * The words of `argv` after the program's name. Where Node.js replaced bytes that are no UTF-8, two names could have become
 * one: the process's own words are asked of the host then, as bytes.
 * @throws CommandError where the host does not tell
 */
export function wordsOf(argv: readonly string[]): readonly string[] {
  const words = argv.slice(2);
  // Others than the process's own were never bytes.
  if (argv !== process.argv || !words.some((word) => word.includes(REPLACEMENT))) return words;
  const asked = wordsOfHost(words.length);
  if (asked?.every((word, index) => isSame(word, words[index] ?? "")) === true) return asked;
  // On Windows names are UTF-16, which Node.js has in full.
  if (process.platform === "win32") return words;
  const word = words.find((candidate) => candidate.includes(REPLACEMENT)) ?? "";
  throw new CommandError(`'${word}' has bytes that are not UTF-8, and this system does not tell which`);
}

function wordsOfHost(count: number): string[] | undefined {
  let bytes: Buffer;
  try {
    bytes = fs.readFileSync("/proc/self/cmdline");
  } catch {
    return undefined;
  }
  const words: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(NUL, at);
    const stop = end < 0 ? bytes.length : end;
    words.push(decodeText(bytes.subarray(at, stop)));
    at = stop + 1;
  }
  // In front of ours are Node.js's own options, its path and the script's.
  return words.length < count ? undefined : words.slice(words.length - count);
}

/** True if `shown` is what becomes of `word` when its bytes are replaced; how many each time, decoders do not agree on. */
function isSame(word: string, shown: string): boolean {
  const normal = (text: string): string => text.replace(/(\p{Surrogate}|\uFFFD)+/gu, REPLACEMENT);
  return normal(word) === normal(shown);
}
