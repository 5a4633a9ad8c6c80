/** The results for people: `IOTESTS.md`. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "../repository.ts";
import type { CaseRecord, Ended, Results } from "./results.ts";
import { WHY_NOT } from "./why-not.ts";

export interface Counts {
  readonly run: number;
  readonly imgPassed: number;
  readonly ioPassed: number;
  readonly leftOut: number;
}

export function countsOf({ cases }: Results): Counts {
  const records = Object.values(cases);
  const run = records.filter(({ leftOut }) => leftOut === undefined);
  return {
    run: run.length,
    imgPassed: run.filter(({ img }) => img?.passed === true).length,
    ioPassed: run.filter(({ io }) => io?.passed === true).length,
    leftOut: records.length - run.length,
  };
}

export function writeTable(results: Results): void {
  writeFileSync(join(REPOSITORY, "conformance/IOTESTS.md"), tableOf(results));
}

export function tableOf(results: Results): string {
  const { run, imgPassed, ioPassed, leftOut } = countsOf(results);
  const entries = Object.entries(results.cases).sort(([a], [b]) => (a < b ? -1 : 1));
  return `# QEMU's own test scripts, with our programs

Written by \`npm run iotests -w @qcow2/conformance -- --update\`; CONTRIBUTING.md says how to run one. The scripts are
\`tests/qemu-iotests\` of QEMU ${results.source}, fetched when they are run; nothing of them is part of this repository. Each is run with
QEMU's own \`qemu-img\` and \`qemu-io\` first; if it passes, with our command in place of \`qemu-img\`, and then in place of both.
The name is the script's; it is run with qcow2 images, or with raw ones where the name says so.

| | scripts |
|---|---|
| run with our programs | ${run} |
| pass with our \`qemu-img\` | ${imgPassed} |
| pass with our \`qemu-img\` and our \`qemu-io\` | ${ioPassed} |
| left out | ${leftOut} |

## Run

| script | our \`qemu-img\` | our \`qemu-io\`, too | why not |
|---|---|---|---|
${entries
  .filter(([, { leftOut: reason }]) => reason === undefined)
  .map(runLine)
  .join("\n")}

## Left out

| reason | scripts |
|---|---|
${leftOutLines(entries)}
`;
}

function runLine([name, { img, io }]: readonly [string, CaseRecord]): string {
  const fails = img?.passed === false || io?.passed === false;
  return `| ${name} | ${verdict(img)} | ${verdict(io)} | ${fails ? (WHY_NOT[name] ?? "**not explained**") : ""} |`;
}

function verdict(ended: Ended | undefined): string {
  if (ended === undefined) return "not run";
  return ended.passed ? "pass" : "fail";
}

function leftOutLines(entries: readonly (readonly [string, CaseRecord])[]): string {
  const byReason = new Map<string, string[]>();
  for (const [name, { leftOut }] of entries) {
    if (leftOut === undefined) continue;
    byReason.set(leftOut, [...(byReason.get(leftOut) ?? []), name]);
  }
  return [...byReason]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([reason, names]) => `| ${reason} (${names.length}) | ${names.join(" ")} |`)
    .join("\n");
}
