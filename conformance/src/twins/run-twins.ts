/**
 * Twins: two equal images, one written by qemu-io, the other by our engine with the same requests. Half way each side
 * goes on from the image that the other wrote. Contents are equal and both checks find nothing, half way and at the end.
 */
import { join } from "node:path";
import { type Codecs, Qcow2Image } from "@qcow2/core";
import { FileStorage, fileReferences } from "@qcow2/node";
import { Random } from "@qcow2/testing";
import type { QemuRelease } from "../qemu-release.ts";
import { expectSuccess, runTool } from "../run-tool.ts";
import { applyTwin, drawOperation, ioCommand, type TwinOperation } from "./twin-operations.ts";
import type { TwinShape } from "./twin-shapes.ts";

/** Requests of one qemu-io process. */
const BATCH = 500;

export interface TwinsOptions {
  readonly shape: TwinShape;
  readonly operations: number;
  readonly seed: number;
  readonly qemu: QemuRelease;
  readonly codecs: Codecs;
  /** An empty folder. */
  readonly folder: string;
}

/** Throws at the first difference; returns how many requests both sides carried out. */
export async function runTwins(options: TwinsOptions): Promise<number> {
  const { shape, operations, seed, qemu, folder } = options;
  const random = new Random(seed);
  const names = ["first.qcow2", "second.qcow2"] as const;
  await makeBacking(options, random);
  for (const name of names) await makeImage(options, name);
  let carriedOut = 0;
  const half = Math.ceil(operations / 2);
  for (const [round, count] of [half, operations - half].entries()) {
    const [ofQemu, ofOurs] = round === 0 ? names : ([names[1], names[0]] as const);
    for (let done = 0; done < count; done += BATCH) {
      const drawn = compressedFirst(
        Array.from({ length: Math.min(BATCH, count - done) }, () => drawOperation(shape, random)),
      );
      const accepted = await runQemu(options, ofQemu, drawn);
      await runOurs(options, ofOurs, accepted);
      carriedOut += accepted.length;
    }
    await expectTwins(options, names);
    if (round > 0 || !shape.hasSnapshot) continue;
    for (const name of names) await qemu.img(["snapshot", "-c", "half way", name], { cwd: folder });
  }
  return carriedOut;
}

/**
 * QEMU (10.0) goes on putting compressed data behind the last of it even when that cluster was given up and holds other
 * data by now, and so destroys data (LEDGER.md). It forgets the place with the process.
 */
function compressedFirst(operations: readonly TwinOperation[]): readonly TwinOperation[] {
  const isCompressed = ({ kind }: TwinOperation): boolean => kind === "write-compressed";
  return [...operations.filter(isCompressed), ...operations.filter((operation) => !isCompressed(operation))];
}

/** Makes the shape's backing file, with data in it, if it has one. */
export async function makeBacking(
  { shape, qemu, folder }: Pick<TwinsOptions, "shape" | "qemu" | "folder">,
  random: Random,
): Promise<void> {
  if (shape.backing === undefined) return;
  const { format, size } = shape.backing;
  await qemu.img(["create", "-q", "-f", format, "backing", String(size)], { cwd: folder });
  const writes = Array.from({ length: 40 }, () => {
    const offset = Math.floor(random.below(size) / 512) * 512;
    const length = Math.min(512 * (1 + random.below(60)), size - offset);
    return ["-c", `write -q -P ${1 + random.below(255)} ${offset} ${length}`];
  });
  const io = [...qemu.command("qemu-io"), "-f", format, ...writes.flat(), "backing"] as const;
  expectSuccess("qemu-io", await runTool(io as unknown as [string], [], { cwd: folder }));
}

/** Makes an empty image of the shape. */
export async function makeImage(
  { shape, qemu, folder }: Pick<TwinsOptions, "shape" | "qemu" | "folder">,
  name: string,
): Promise<void> {
  const dataFile = shape.hasDataFile ? [`data_file=${join(folder, `${name}.data`)}`] : [];
  const backing = shape.backing === undefined ? [] : ["-b", "backing", "-F", shape.backing.format];
  const options = [...shape.options, ...dataFile].join(",");
  const args = ["create", "-q", "-f", "qcow2", "-o", options, ...backing, name, String(shape.size)];
  await qemu.img(args, { cwd: folder });
}

/** Answers which of the requests QEMU carried out: it refuses to write compressed over a cluster in use. */
async function runQemu(
  { qemu, folder }: TwinsOptions,
  name: string,
  operations: readonly TwinOperation[],
): Promise<readonly TwinOperation[]> {
  const accepted: TwinOperation[] = [];
  // Each request is followed by a command that always answers, so that a failure can be told whose it is.
  const commands = operations.flatMap((operation) => ["-c", ioCommand(operation), "-c", "length"]);
  const args = ["-f", "qcow2", "--discard=unmap", "--cache=unsafe", ...commands, name];
  const { stdout } = await runTool(qemu.command("qemu-io"), args, { cwd: folder });
  const lines = stdout.split("\n").filter((line) => line !== "");
  let at = 0;
  for (const operation of operations) {
    const failure = /failed/.test(lines[at] ?? "") ? lines[at++] : undefined;
    const length = lines[at++];
    if (length === undefined) throw new Error(`qemu-io stopped at ${ioCommand(operation)}: ${stdout}`);
    if (failure === undefined) accepted.push(operation);
    else if (operation.kind !== "write-compressed") throw new Error(`${ioCommand(operation)}: ${failure}`);
  }
  return accepted;
}

async function runOurs(
  { folder, codecs }: TwinsOptions,
  name: string,
  operations: readonly TwinOperation[],
): Promise<void> {
  await using image = await Qcow2Image.open({
    storage: await FileStorage.open(join(folder, name)),
    references: fileReferences({ codecs }),
    codecs,
    // Nothing here outlives a power cut; the order of writes has its own suite.
    durability: "on-close",
    discard: "unmap",
  });
  for (const operation of operations) await applyTwin(image, operation);
}

async function expectTwins(options: TwinsOptions, names: readonly [string, string]): Promise<void> {
  const { qemu, folder, shape } = options;
  expectSuccess(
    `${shape.name}: qemu-img compare`,
    await qemu.tryImg(["compare", "-f", "qcow2", "-F", "qcow2", ...names], { cwd: folder }),
  );
  if (shape.options.includes("data_file_raw=on")) {
    const raw = `${names[0]}.data`;
    for (const name of names) {
      const args = ["compare", "-f", "qcow2", "-F", "raw", name, raw];
      expectSuccess(`${shape.name}: the raw data file`, await qemu.tryImg(args, { cwd: folder }));
    }
  }
  for (const name of names) {
    const check = await qemu.tryImg(["check", "-f", "qcow2", name], { cwd: folder });
    expectSuccess(`${shape.name}: qemu-img check ${name}`, check);
    await using image = await Qcow2Image.open({
      storage: await FileStorage.open(join(folder, name), { readOnly: true }),
      metadataOnly: true,
    });
    const { corruptions, leaks, checkErrors } = await image.check();
    if (corruptions + leaks + checkErrors > 0) {
      throw new Error(`${shape.name}: our check of ${name} finds ${corruptions} corruptions, ${leaks} leaks`);
    }
  }
}
