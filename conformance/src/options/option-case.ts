/** A command line that our command and qemu-img get alike, each in a folder with the same images. */

/**
 * What is not compared of the images that are left behind, where the ledger says why: which zeroes are marked as such,
 * where content is defined, the content itself, where nobody can read it, or all of it.
 */
export type Uncompared = "zeroes" | "maps" | "content" | "everything";

export interface CommandCase {
  /** What follows the program's name. */
  readonly words: readonly string[];
  /** Numbers of ledger entries that explain why the answers differ; each must be needed. */
  readonly ledger?: readonly number[];
  /** Default: everything is compared. */
  readonly except?: Uncompared;
}

/** A command line as it is typed, 'in quotes' where a word is empty or has spaces; or one with particulars. */
export type DeclaredCase = string | (Omit<CommandCase, "words"> & { readonly line: string });

export function commandCase(declared: DeclaredCase): CommandCase {
  if (typeof declared === "string") return { words: wordsOf(declared) };
  const { line, ...rest } = declared;
  return { words: wordsOf(line), ...rest };
}

/** The words of a line, as a shell would pass them. */
function wordsOf(line: string): string[] {
  return Array.from(line.matchAll(/'([^']*)'|\S+/g), ([whole, quoted]) => quoted ?? whole);
}

/** Commands whose cases leave every file as it was, so that both sides may work in one folder at once. */
const READING: ReadonlySet<string> = new Set(["info", "map", "measure", "compare"]);

export function onlyReads(words: readonly string[]): boolean {
  return READING.has(words[0] ?? "") || words.includes("--help");
}
