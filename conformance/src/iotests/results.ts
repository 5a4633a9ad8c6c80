/** How each case ended when it was last recorded, in `iotests.json`: what may not become worse. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "../repository.ts";

const FILE = join(REPOSITORY, "conformance/iotests.json");

/** Our programs take the place of `qemu-img` alone, or of `qemu-io` too. */
export type OurPass = "img" | "io";

export interface Ended {
  readonly passed: boolean;
  /** Rounded up. */
  readonly seconds: number;
}

export interface CaseRecord {
  /** Why the case is not run with our programs; then it has no results. */
  readonly leftOut?: string;
  readonly img?: Ended;
  readonly io?: Ended;
}

export interface Results {
  /** Version of the source package: "10.0.13+ds". */
  readonly source: string;
  /** By the case's name. */
  readonly cases: Readonly<Record<string, CaseRecord>>;
}

export function readResults(): Results {
  return JSON.parse(readFileSync(FILE, "utf8")) as Results;
}

/** Cases in the order of their names, so that a change of one is a change of one place. */
export function writeResults({ source, cases }: Results): void {
  const sorted = Object.fromEntries(Object.entries(cases).sort(([a], [b]) => (a < b ? -1 : 1)));
  // One case a line: integer-like names would otherwise come first, and the file would be four times as long.
  const lines = Object.entries(sorted).map(
    ([name, record]) => `    ${JSON.stringify(name)}: ${JSON.stringify(record)}`,
  );
  writeFileSync(
    FILE,
    `{\n  "source": ${JSON.stringify(source)},\n  "cases": {\n${lines.join(",\n")}\n  }\n}\n`,
  );
}
