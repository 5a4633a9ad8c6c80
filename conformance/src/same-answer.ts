import { expect } from "vitest";
import { ledgerEntry } from "./ledger.ts";
import { tryOursInProcess } from "./ours-in-process.ts";
import type { QemuRelease } from "./qemu-release.ts";
import type { ToolResult } from "./run-tool.ts";

export interface SameAnswerOptions {
  readonly args: readonly string[];
  readonly folder: string;
  readonly qemu: QemuRelease;
  /** Numbers of ledger entries that explain why the answers differ; each must be needed. */
  readonly ledger?: readonly number[];
  /** One after the other, QEMU first, because they change a file. Default: both at once. */
  readonly oneByOne?: boolean;
}

/** Our command and qemu-img, called alike on the same files, end with the same code and print the same text. */
export async function expectSameAnswer(options: SameAnswerOptions): Promise<ToolResult> {
  const { args, folder, qemu, ledger = [], oneByOne = false } = options;
  const theirs = qemu.tryImg(args, { cwd: folder });
  if (oneByOne) await theirs;
  const [actual, expected] = await Promise.all([tryOursInProcess(args, { cwd: folder }), theirs]);
  expectEqualAnswers({ actual, expected, ledger, what: args.join(" ") });
  return expected;
}

/** Holds two answers against each other, the ledger's entries named aside. */
export function expectEqualAnswers(options: {
  readonly actual: ToolResult;
  readonly expected: ToolResult;
  readonly ledger?: readonly number[];
  readonly what: string;
}): void {
  const { ledger = [], what, actual, expected } = options;
  for (const number of ledger) {
    const others = ledger.filter((other) => other !== number);
    const isNeeded = JSON.stringify(excuse(actual, others)) !== JSON.stringify(excuse(expected, others));
    expect(isNeeded, `ledger entry ${number} does not occur in '${what}' any more: remove it`).toBe(true);
  }
  // Named with the command, so that a failure says which of many calls it was.
  expect({ what, ...excuse(actual, ledger) }).toEqual({ what, ...excuse(expected, ledger) });
}

/** The answer without what the ledger's entries excuse. */
function excuse(answer: ToolResult, ledger: readonly number[]): ToolResult {
  return ledger.reduce((rest, number) => ledgerEntry(number).normalise(rest), answer);
}
