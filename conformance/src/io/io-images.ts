/** The files that the cases of `io-cases.ts` are about. */
import { writeFileSync } from "node:fs";
import type { QemuRelease } from "../qemu-release.ts";

/** Name and format of each image that both sides must leave equal. */
export const IO_IMAGES: Readonly<Record<string, "qcow2" | "raw">> = {
  base: "qcow2",
  disk: "qcow2",
  nothing: "qcow2",
  overlay: "qcow2",
  raw: "raw",
  special: "qcow2",
  subclusters: "qcow2",
  version2: "qcow2",
};

export async function makeIoImages(qemu: QemuRelease, cwd: string): Promise<void> {
  const create = async (...args: string[]): Promise<void> => {
    await qemu.img(["create", "-q", "-f", "qcow2", ...args], { cwd });
  };
  await create("disk", "1M");
  await create("base", "1M");
  await create("-o", "compat=0.10", "version2", "1M");
  await create("-o", "extended_l2=on", "subclusters", "1M");
  await create(
    "-o",
    "compression_type=zstd,lazy_refcounts=on,cluster_size=128k,refcount_bits=1",
    "special",
    "300000",
  );
  await create("large", "10T");
  await create("nothing", "0");
  await qemu.img(["bitmap", "--add", "special", "bitmap"], { cwd });
  await qemu.io("disk", ["write -P 1 0 4k"], { cwd });
  await qemu.io("base", ["write -P 1 0 4k", "write -P 2 512k 4k"], { cwd });
  await create("-b", "base", "-F", "qcow2", "overlay", "2M");
  await qemu.io("overlay", ["write -P 2 1M 4k"], { cwd });
  writeFileSync(`${cwd}/raw`, Buffer.alloc(131_072, 3));
  writeFileSync(`${cwd}/pattern`, "abc");
  writeFileSync(`${cwd}/empty`, "");
}
