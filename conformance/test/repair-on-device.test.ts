/** Images that fill a block device: what a repair writes anew has only the room that is free within. */
import { closeSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { execa } from "execa";
import { it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { ours } from "../src/ours.ts";
import type { QemuRelease } from "../src/qemu-release.ts";
import { describeConformance } from "../src/requires.ts";
import { expectSuccess } from "../src/run-tool.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "repair on a block device without room behind the image";
const REFCOUNT_TABLE_AT = 48;
const INCOMPATIBLE_FEATURES_END = 79;
const WRITES = ["write -q -P 1 0 1M", "write -q -P 2 1M 1M"];
/** A run of clusters for the table, and one cluster here and there. */
const DISCARDS = [
  "discard 300k 8k",
  ...Array.from({ length: 100 }, (_, index) => `discard ${1100 + index}k 512`),
];

/** An image in a file that ends with the image's last cluster; what is free is in the middle. */
async function makeImage(qemu: QemuRelease, bench: Workbench): Promise<string> {
  const inFolder = { cwd: bench.folder };
  const options = "cluster_size=512,refcount_bits=64";
  await qemu.img(["create", "-q", "-f", "qcow2", "-o", options, "image", "2M"], inFolder);
  await qemu.io("image", WRITES, inFolder);
  const discards = DISCARDS.flatMap((command) => ["-c", command]);
  expectSuccess("qemu-io", await qemu.tryIo(["-f", "qcow2", "-d", "unmap", ...discards, "image"], inFolder));
  const { stdout } = await qemu.img(["check", "--output=json", "-f", "qcow2", "image"], inFolder);
  truncateSync(bench.path("image"), JSON.parse(stdout)["image-end-offset"] as number);
  await qemu.img(["convert", "-f", "qcow2", "-O", "raw", "image", "expected"], inFolder);
  return bench.path("image");
}

function writeAt(file: string, at: number, bytes: Uint8Array): void {
  const descriptor = openSync(file, "r+");
  writeSync(descriptor, bytes, 0, bytes.length, at);
  closeSync(descriptor);
}

await describeConformance(GROUP, { platform: "linux" }, ({ reference: qemu }) => {
  it.for([
    ["check -r all, half of the refcounts gone", ["check", "-q", "-r", "all"]],
    ["a dirty image opened for writing", ["io", "-c", "write -q -P 1 0 512"]],
  ] as const)("%s", async ([name, words], { skip }) => {
    using bench = new Workbench("device");
    const cwd = bench.folder;
    const file = await makeImage(qemu, bench);
    const table = Number(readFileSync(file).readBigUInt64BE(REFCOUNT_TABLE_AT));
    if (name.startsWith("check")) writeAt(file, table + 32 * 8, new Uint8Array(32 * 8));
    else writeAt(file, INCOMPATIBLE_FEATURES_END, Uint8Array.of(1));
    const attached = await execa("losetup", ["--find", "--show", file], { reject: false });
    if (attached.exitCode !== 0) return skip("attaching a loop device is not permitted here");
    const device = attached.stdout.trim();
    try {
      await ours([...words, device], { cwd });
      expectSuccess("qemu-img check", await qemu.tryImg(["check", "-f", "qcow2", device], { cwd }));
      const compared = ["compare", "-f", "qcow2", "-F", "raw", device, "expected"];
      expectSuccess("qemu-img compare", await qemu.tryImg(compared, { cwd }));
    } finally {
      await execa("losetup", ["--detach", device]);
    }
    caseRan(GROUP, qemu.version);
  });
});
