/** Runs a case on both sides and holds the answers, and the files left behind, against each other. */
import {
  closeSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { tryOursInProcess } from "../ours-in-process.ts";
import type { QemuRelease } from "../qemu-release.ts";
import { expectSuccess, type ToolResult } from "../run-tool.ts";
import { expectEqualAnswers } from "../same-answer.ts";
import { expectSameFiles } from "../same-files.ts";
import { comparableInfo, comparableMap, type TwinFolders } from "../twin-folders.ts";
import { Workbench } from "../workbench.ts";
import { type CommandCase, onlyReads, type Uncompared } from "./option-case.ts";

/** `images` is a folder with what the words name; it stays as it is. */
export async function runCase(
  drawn: CommandCase,
  { qemu, images }: { readonly qemu: QemuRelease; readonly images: string },
): Promise<void> {
  if (onlyReads(drawn.words)) {
    await expectBothAnswers(drawn, { qemu, ours: images, theirs: images });
    return;
  }
  using bench = new Workbench("option");
  const twins = { ours: bench.path("ours"), theirs: bench.path("theirs") };
  for (const folder of [twins.ours, twins.theirs]) prepareFolder(images, folder, drawn.words);
  await expectBothAnswers(drawn, { qemu, ...twins });
  if (drawn.except !== "everything") await expectSameLeft(qemu, twins, drawn.except);
}

async function expectBothAnswers(
  { words, ledger = [] }: CommandCase,
  { qemu, ours, theirs }: TwinFolders & { readonly qemu: QemuRelease },
): Promise<void> {
  const [actual, expected] = await Promise.all([
    tryOursInProcess(words, { cwd: ours }),
    qemu.tryImg(words, { cwd: theirs }),
  ]);
  expectEqualAnswers({
    actual: withoutTime(actual),
    expected: withoutTime(expected),
    ledger,
    what: words.join(" "),
  });
}

/** What depends on the clock: how long `bench` took. */
function withoutTime(answer: ToolResult): ToolResult {
  return { ...answer, stdout: answer.stdout.replace(/completed in \d+\.\d{3} seconds/, "completed") };
}

/**
 * A folder for one side: what the words name, and what belongs to it, are copies; everything else is linked: it is not to
 * be changed, nor opened for writing, which the other side would find locked.
 */
function prepareFolder(from: string, to: string, words: readonly string[]): void {
  mkdirSync(to);
  for (const name of readdirSync(from)) {
    const isNamed = words.some((word) => word.includes(name)) || BELONGS_TO_OTHERS.has(name);
    if (isNamed) copyFileSync(join(from, name), join(to, name));
    else linkSync(join(from, name), join(to, name));
  }
}

/** The names for backing files and data files, which are opened under the name of another image. */
const BELONGS_TO_OTHERS: ReadonlySet<string> = new Set(["base", "overlay", "data"]);

/** The same files, with the same content; images may be laid out differently. */
async function expectSameLeft(
  qemu: QemuRelease,
  twins: TwinFolders,
  except: Uncompared | undefined,
): Promise<void> {
  const [ours, theirs] = [twins.ours, twins.theirs].map((folder) => readdirSync(folder).sort());
  expect(ours).toEqual(theirs);
  for (const name of ours ?? []) {
    const pair = [join(twins.ours, name), join(twins.theirs, name)] as const;
    if (areEqual(...pair)) continue;
    if (!isQcow2(pair[1])) {
      expectSameFiles(...pair);
      continue;
    }
    if (except !== "content") {
      await Promise.all([
        qemu.img(["compare", "-q", "-f", "qcow2", "-F", "qcow2", ...pair]),
        qemu.img(["check", "-q", "-f", "qcow2", name], { cwd: twins.ours }),
      ]);
    }
    expect(await describe(twins.ours, name, except)).toEqual(await describe(twins.theirs, name, except));
  }
}

/** In our command's words, which are QEMU's (`same-answers` says so), and sooner there. */
async function describe(cwd: string, name: string, except: Uncompared | undefined): Promise<object> {
  const ask = async (command: string): Promise<string> => {
    const words = [command, "-f", "qcow2", "--output=json", name];
    return expectSuccess(words.join(" "), await tryOursInProcess(words, { cwd })).stdout;
  };
  const info = comparableInfo(await ask("info"), { withLength: false });
  if (except === "maps" || except === "content") return { name, info };
  return { name, info, map: comparableMap(await ask("map"), { sameZeroes: except !== "zeroes" }) };
}

function areEqual(first: string, second: string): boolean {
  const [one, other] = [statSync(first), statSync(second)];
  return (
    one.ino === other.ino || (one.size === other.size && readFileSync(first).equals(readFileSync(second)))
  );
}

function isQcow2(file: string): boolean {
  const descriptor = openSync(file, "r");
  try {
    const magic = Buffer.alloc(4);
    return readSync(descriptor, magic) === 4 && magic.toString("latin1") === "QFI\xfb";
  } finally {
    closeSync(descriptor);
  }
}
