/** The images that the command lines of `cases/` name. */
import { writeFileSync } from "node:fs";
import { markInUse } from "../damage.ts";
import type { QemuRelease } from "../qemu-release.ts";
import { writeSparseRaw } from "../shapes.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * Makes them in `folder`. Disks of 1 MiB, unless their names tell more: `base` < `overlay` < `top` is a backing chain,
 * `sibling` is another overlay of `base`, `snaps` has the snapshots one (id 1), two (id 2) and 1 (id 3).
 */
export async function makeCaseImages(folder: string, qemu: QemuRelease): Promise<void> {
  const cwd = folder;
  const create = (...words: string[]): Promise<unknown> =>
    qemu.img(["create", "-q", "-f", "qcow2", ...words], { cwd });
  const io = (name: string, ...commands: string[]): Promise<unknown> => qemu.io(name, commands, { cwd });
  writeSparseRaw(`${folder}/raw`, MIB, [
    { offset: 0, length: 200 * KIB },
    { offset: 700 * KIB, length: 100 * KIB },
  ]);
  writeSparseRaw(`${folder}/odd.raw`, 1_000_001, [{ offset: 0, length: 1000 }]);
  writeFileSync(`${folder}/secret`, "a passphrase");
  writeFileSync(`${folder}/secret.base64`, Buffer.from("a passphrase").toString("base64"));
  const chain = async (): Promise<void> => {
    await create("base", "1M");
    await io("base", "write -P 3 0 300k", "write -P 4 600k 100k");
    await Promise.all([
      create("-b", "base", "-F", "qcow2", "overlay"),
      create("-b", "base", "-F", "qcow2", "sibling"),
    ]);
    await io("overlay", "write -P 5 64k 100k", "write -z 256k 64k");
    await create("-b", "overlay", "-F", "qcow2", "top");
    await io("top", "write -P 6 128k 64k");
  };
  const snapshots = async (): Promise<void> => {
    await create("snaps", "1M");
    for (const [index, name] of ["one", "two", "1"].entries()) {
      await io("snaps", `write -P ${7 + index} ${100 * index}k 200k`);
      await qemu.img(["snapshot", "-c", name, "snaps"], { cwd });
    }
    await io("snaps", "write -P 20 0 64k");
  };
  const bitmaps = async (): Promise<void> => {
    await create("bitmaps", "1M");
    await qemu.img(["bitmap", "--add", "-g", "64k", "bitmaps", "followed"], { cwd });
    await io("bitmaps", "write -P 1 0 64k");
    await qemu.img(["bitmap", "--add", "--disable", "bitmaps", "still"], { cwd });
    await create("broken", "1M");
    await qemu.img(["bitmap", "--add", "broken", "unsaved"], { cwd });
    markInUse(`${folder}/broken`, "unsaved");
  };
  const others = async (): Promise<void> => {
    await qemu.img(["convert", "-c", "-f", "raw", "-O", "qcow2", "raw", "compressed"], { cwd });
    await create("-o", "data_file=data", "datafile", "1M");
    await io("datafile", "write -P 1 0 100k");
    await create("-o", "compat=0.10", "version2", "1M");
    await io("version2", "write -P 1 0 100k");
    await create("empty", "2M");
    const luks = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
    await create("--object", "secret,id=s,data=a passphrase", "-o", luks, "luks", "1M");
  };
  await Promise.all([chain(), snapshots(), bitmaps(), others()]);
}
