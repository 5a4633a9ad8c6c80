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
    title: "The text of some errors is our own",
    normalise: (answer) => (answer.exitCode === 0 ? answer : { ...answer, stderr: "" }),
  },
  { number: 3, title: "Tables beyond the end of the file are refused", normalise: (answer) => answer },
  { number: 4, title: "A backing chain that loops is refused at once", normalise: (answer) => answer },
  {
    number: 5,
    title: "compare -s names the first range that is stored differently",
    normalise: (answer) => ({
      ...answer,
      stdout: answer.stdout.replace(
        /^Strict mode: Offset \d+ block status/m,
        "Strict mode: Offset N block status",
      ),
    }),
  },
  {
    number: 6,
    title: "Progress moves in other steps",
    normalise: (answer) => ({
      ...answer,
      stdout: answer.stdout.replace(/( {4}\(\d+\.\d\d\/100%\)\r?)+/g, ""),
    }),
  },
  {
    number: 7,
    title: "convert -c -B leaves the tail of a shorter backing file in the backing file",
    normalise: (answer) => answer,
  },
  {
    number: 8,
    title: "convert into a preallocated image writes whole clusters",
    normalise: (answer) => answer,
  },
  { number: 9, title: "check also finds metadata that overlaps", normalise: (answer) => answer },
  {
    number: 10,
    title: "commit looks for other images on the same backing file",
    normalise: (answer) => ({
      ...answer,
      stderr: answer.stderr.replace(/^qemu-img: warning: .* reads? .* as well.*\n/m, ""),
    }),
  },
  {
    number: 11,
    title: "rebase refuses a chain that would come back to the image",
    normalise: (answer) => answer,
  },
  {
    number: 12,
    title: "io and its commands are explained in our own words",
    normalise: (answer) => ({ ...answer, stdout: withoutExplanations(answer.stdout) }),
  },
  {
    number: 13,
    title: "--help and -o help list the same options in our own words",
    normalise: ({ exitCode, stdout, stderr }) => ({ exitCode, stdout: namesOfOptions(stdout), stderr }),
  },
  {
    number: 14,
    title: "snapshot --create, --apply and --delete take a name",
    normalise: () => ({ exitCode: 0, stdout: "", stderr: "" }),
  },
  {
    number: 15,
    title: "amend and snapshot -d say what they destroy",
    normalise: (answer) => answer,
  },
];

export function ledgerEntry(number: number): LedgerEntry {
  const entry = LEDGER.find((candidate) => candidate.number === number);
  if (entry === undefined) throw new Error(`the ledger has no entry ${number}`);
  return entry;
}

/** Lines such as "read [-q] off len -- what it does", what follows them in the help, and the usage of qemu-io itself. */
function withoutExplanations(text: string): string {
  return text
    .replace(/^Usage: qemu-io [\s\S]*/m, "")
    .replace(/^([a-z_]+)( .*)? -- .*\n(\n(?:.+\n)*)*/gm, "$1: explained\n");
}

/** Of `-o help`, each option with what it takes; of `--help`, nothing. */
function namesOfOptions(help: string): string {
  return Array.from(help.matchAll(/^ {2}(\S+=<[^>]*>)/gm), ([, name]) => name).join("\n");
}
