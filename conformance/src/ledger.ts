/**
 * The known differences from qemu-img, one entry each. LEDGER.md says the same for people: a test holds the two
 * together. A comparison may name an entry; then the difference has to be there, and has to be that one.
 */
import type { ToolResult } from "./run-tool.ts";

export interface LedgerEntry {
  /** Never reused. */
  readonly number: number;
  /** The heading in LEDGER.md. */
  readonly title: string;
  /** Removes what the entry excuses from an answer, ours or QEMU's; both must be equal afterwards. */
  normalise(answer: ToolResult): ToolResult;
}

export const LEDGER: readonly LedgerEntry[] = [
  {
    number: 1,
    title: "The text of an error is one line, and our own",
    normalise: (answer) => (answer.exitCode === 0 ? answer : { ...answer, stderr: "" }),
  },
  {
    number: 2,
    title: "create refuses bad option values before it prints anything",
    normalise: (answer) =>
      answer.exitCode === 0 ? answer : { ...answer, stdout: answer.stdout.replace(/^Formatting .*\n/, "") },
  },
];

export function ledgerEntry(number: number): LedgerEntry {
  const entry = LEDGER.find((candidate) => candidate.number === number);
  if (entry === undefined) throw new Error(`the ledger has no entry ${number}`);
  return entry;
}
