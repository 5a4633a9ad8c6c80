/** Valid images that QEMU makes: the same shapes, by its own tools. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { ENGINE_CODECS } from "@qcow2/testing";
import { buildFuzzImage, type FuzzFiles, type FuzzShape, type FuzzStep, rangeOf } from "@qcow2/testing/fuzz";
import type { QemuRelease } from "../qemu-release.ts";
import type { Workbench } from "../workbench.ts";

export async function buildByQemu(
  shape: FuzzShape,
  { qemu, bench }: { readonly qemu: QemuRelease; readonly bench: Workbench },
): Promise<FuzzFiles> {
  const { options, steps, dataFile, marks = [] } = shape;
  const clusterSize = options.clusterSize ?? 65536;
  const size = Math.floor((shape.clusters * clusterSize) / 512) * 512;
  const cwd = bench.folder;
  // The backing file is content alone: it need not be QEMU's.
  const { backing } = await buildFuzzImage({ ...shape, steps: [] }, ENGINE_CODECS);
  if (backing !== undefined) writeFileSync(bench.path("backing"), backing.bytes);
  const settings = [
    `compat=${options.version === 2 ? "0.10" : "1.1"}`,
    `cluster_size=${clusterSize}`,
    ...(options.version === 2
      ? []
      : [
          `refcount_bits=${options.refcountBits ?? 16}`,
          `extended_l2=${options.extendedL2 ? "on" : "off"}`,
          `lazy_refcounts=${options.lazyRefcounts ? "on" : "off"}`,
          `compression_type=${options.compressionType ?? "zlib"}`,
        ]),
    ...(options.preallocation ? [`preallocation=${options.preallocation}`] : []),
    ...(dataFile ? ["data_file=data", `data_file_raw=${dataFile === "raw" ? "on" : "off"}`] : []),
  ].join(",");
  try {
    const below = backing === undefined ? [] : ["-b", "backing", "-F", backing.format];
    await qemu.img(["create", "-q", "-f", "qcow2", "-o", settings, ...below, "image", String(size)], { cwd });
    await runSteps(steps, { qemu, cwd, size, clusterSize });
    const image = readFileSync(bench.path("image"));
    if (marks.includes("dirty")) image[79]! |= 1;
    if (marks.includes("corrupt")) image[79]! |= 2;
    return {
      image: new Uint8Array(image),
      data: dataFile && new Uint8Array(readFileSync(bench.path("data"))),
      backing,
    };
  } finally {
    for (const name of ["image", "data", "backing"]) rmSync(bench.path(name), { force: true });
  }
}

async function runSteps(
  steps: readonly FuzzStep[],
  options: {
    readonly qemu: QemuRelease;
    readonly cwd: string;
    readonly size: number;
    readonly clusterSize: number;
  },
): Promise<void> {
  const { qemu, cwd, size, clusterSize } = options;
  let commands: string[] = [];
  let count = 0;
  const flush = async (): Promise<void> => {
    // What the shape cannot have (more references than narrow refcounts count) is left out.
    const args = ["-f", "qcow2", ...commands.flatMap((command) => ["-c", command]), "image"];
    if (commands.length > 0) await qemu.tryIo(args, { cwd });
    commands = [];
  };
  for (const step of steps) {
    count++;
    if (step.kind === "snapshot" || step.kind === "bitmap") {
      await flush();
      if (step.kind === "snapshot") await qemu.tryImg(["snapshot", "-c", `s${count}`, "image"], { cwd });
      else {
        const flags = step.enabled ? [] : ["--disable"];
        await qemu.tryImg(
          ["bitmap", "--add", ...flags, "-g", String(step.granularity), "image", `b${count}`],
          { cwd },
        );
      }
      continue;
    }
    const { offset, length } = rangeOf(size, step, clusterSize, step.kind === "compress" ? clusterSize : 512);
    const range = `${offset} ${length}`;
    if (length === 0) continue;
    if (step.kind === "write") commands.push(`write -P ${1 + (step.seed % 255)} ${range}`);
    else if (step.kind === "compress") commands.push(`write -c -P ${1 + (step.seed % 255)} ${range}`);
    else if (step.kind === "zero") commands.push(`write -z ${range}`);
    else if (step.kind === "unmap") commands.push(`write -zu ${range}`);
    else commands.push(`discard ${range}`);
  }
  await flush();
}
