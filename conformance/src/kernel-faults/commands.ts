/** Commands that change something, and the files that they are tried on. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { content } from "@qcow2/testing";
import type { QemuRelease } from "../qemu-release.ts";

/** What may be left by a command that fails: "either" the old state or the new one as a whole, or each "sector" of them. */
export type Granularity = "either" | "sector";

export interface FaultyCommand {
  readonly name: string;
  readonly words: readonly string[];
  /** A file that the command makes or replaces: after a failure it is what it was, or is not there. */
  readonly target?: string;
  /** Images that the command changes in place. */
  readonly changes?: readonly string[];
  /** Default "either". */
  readonly granularity?: Granularity;
}

export const COMMANDS: readonly FaultyCommand[] = [
  {
    name: "io write",
    words: ["io", "-c", "write -P 7 60k 200k", "-c", "flush", "-c", "write -P 8 300k 3k", "disk"],
    changes: ["disk"],
    granularity: "sector",
  },
  {
    name: "io compressed",
    words: ["io", "-c", "write -c -P 9 512k 128k", "-c", "discard 0 128k", "disk"],
    changes: ["disk"],
    granularity: "sector",
  },
  {
    name: "io zeroes",
    words: ["io", "-d", "unmap", "-c", "write -z -u 10k 150k", "-c", "write -z 700k 70k", "snaps"],
    changes: ["snaps"],
    granularity: "sector",
  },
  {
    name: "io with a bitmap",
    words: ["io", "-c", "write -P 5 100k 40k", "followed"],
    changes: ["followed"],
    granularity: "sector",
  },
  { name: "convert to qcow2", words: ["convert", "-O", "qcow2", "raw", "new"], target: "new" },
  { name: "convert compressed", words: ["convert", "-c", "-O", "qcow2", "disk", "new"], target: "new" },
  { name: "convert over an image", words: ["convert", "-O", "qcow2", "raw", "disk"], target: "disk" },
  { name: "convert to raw", words: ["convert", "-O", "raw", "disk", "new"], target: "new" },
  { name: "create", words: ["create", "-f", "qcow2", "new", "1M"], target: "new" },
  {
    name: "create with a data file",
    words: ["create", "-f", "qcow2", "-o", "data_file=new.data,preallocation=falloc", "new", "1M"],
    target: "new",
  },
  {
    name: "create an overlay",
    words: ["create", "-f", "qcow2", "-b", "disk", "-F", "qcow2", "new"],
    target: "new",
  },
  { name: "resize", words: ["resize", "--preallocation=falloc", "disk", "2M"], changes: ["disk"] },
  { name: "resize --shrink", words: ["resize", "--shrink", "disk", "512k"], changes: ["disk"] },
  { name: "amend", words: ["amend", "-o", "refcount_bits=32", "snaps"], changes: ["snaps"] },
  { name: "amend to version 2", words: ["amend", "-o", "compat=0.10", "disk"], changes: ["disk"] },
  { name: "snapshot -c", words: ["snapshot", "-c", "three", "snaps"], changes: ["snaps"] },
  { name: "snapshot -a", words: ["snapshot", "-a", "one", "snaps"], changes: ["snaps"] },
  { name: "snapshot -d", words: ["snapshot", "-d", "one", "snaps"], changes: ["snaps"] },
  { name: "bitmap --add", words: ["bitmap", "--add", "followed", "second"], changes: ["followed"] },
  { name: "bitmap --clear", words: ["bitmap", "--clear", "followed", "first"], changes: ["followed"] },
  {
    name: "commit",
    words: ["commit", "overlay"],
    changes: ["overlay", "base"],
    granularity: "sector",
  },
  {
    name: "rebase",
    words: ["rebase", "-f", "qcow2", "-b", "other", "-F", "qcow2", "overlay"],
    changes: ["overlay"],
  },
  { name: "check -r", words: ["check", "-r", "all", "leaky"], changes: ["leaky"] },
  { name: "dd", words: ["dd", "-O", "qcow2", "bs=64k", "if=raw", "of=new"], target: "new" },
];

/** Bytes of the disks. */
const SIZE = "1M";

/** Makes the files of which the commands need some: small, of several kinds of clusters, with real QEMU. */
export async function makeFiles(qemu: QemuRelease, folder: string): Promise<void> {
  const at = (name: string): string => join(folder, name);
  const create = async (name: string, ...options: readonly string[]): Promise<void> => {
    await qemu.img(["create", "-q", "-f", "qcow2", ...options, name, SIZE], { cwd: folder });
  };
  writeFileSync(at("raw"), content({ kind: "mixed", seed: 3, length: 2 ** 20 }));
  const written = ["write -P 1 0 192k", "write -c -P 2 256k 64k", "write -P 3 400k 100k", "write -z 64k 64k"];
  for (const name of ["disk", "snaps", "followed", "leaky", "base", "other"]) {
    await create(name);
    await qemu.io(at(name), written);
  }
  await qemu.img(["snapshot", "-c", "one", at("snaps")]);
  await qemu.io(at("snaps"), ["write -P 4 100k 300k"]);
  await qemu.img(["snapshot", "-c", "two", at("snaps")]);
  await qemu.io(at("snaps"), ["write -P 5 0 64k"]);
  await qemu.img(["bitmap", "--add", "-g", "4096", at("followed"), "first"]);
  await qemu.io(at("followed"), ["write -P 6 800k 64k"]);
  await qemu.io(at("other"), ["write -P 9 128k 200k"]);
  await create("overlay", "-b", "base", "-F", "qcow2");
  await qemu.io(at("overlay"), ["write -P 8 150k 120k", "write -z 448k 64k"]);
  leak(at("leaky"));
}

/** Adds a cluster that is counted, and that nobody refers to. */
function leak(file: string): void {
  const bytes = readFileSync(file);
  const clusterSize = 65536;
  const clusters = Math.ceil(bytes.length / clusterSize);
  const longer = Buffer.alloc((clusters + 1) * clusterSize, bytes);
  longer.fill(0, bytes.length);
  const table = Number(longer.readBigUInt64BE(48));
  const block = Number(longer.readBigUInt64BE(table));
  longer.writeUInt16BE(1, block + 2 * clusters);
  writeFileSync(file, longer);
}
