/** What QEMU's NBD server says of a persistent bitmap: a judge that shares nothing with our reader of bitmaps. */
import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { execa } from "execa";
import type { QemuRelease } from "../qemu-release.ts";
import type { Workbench } from "../workbench.ts";

/** Guest bytes offset .. offset + length that the bitmap calls dirty. */
export interface DirtyRange {
  readonly offset: number;
  readonly length: number;
}

const ATTEMPTS = 100;
const PAUSE_MS = 20;

/** @throws if the bitmap is disabled or was not saved: the server offers neither. */
export async function dirtyRangesByQemu(
  qemu: QemuRelease,
  image: string,
  bitmap: string,
): Promise<DirtyRange[]> {
  const socket = `${image}.sock`;
  const [program, ...fixed] = qemu.command("qemu-nbd");
  const server = execa(program, [...fixed, "-r", "-k", socket, "-B", bitmap, "-f", "qcow2", image], {
    reject: false,
  });
  const source = `driver=nbd,server.type=unix,server.path=${socket},x-dirty-bitmap=qemu:dirty-bitmap:${bitmap}`;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const answer = await qemu.tryImg(["map", "--output=json", "--image-opts", source]);
    if (answer.exitCode === 0) {
      // It ends when its only client is gone.
      await server;
      const extents = JSON.parse(answer.stdout) as { start: number; length: number; data: boolean }[];
      return extents.filter(({ data }) => !data).map(({ start, length }) => ({ offset: start, length }));
    }
    if (server.exitCode !== null) break;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  server.kill();
  throw new Error(`qemu-nbd does not serve the bitmap '${bitmap}' of ${image}: ${(await server).stderr}`);
}

/**
 * Both images named "image" have the same bits in all their bitmaps, as QEMU's NBD server tells them; disabled ones are merged
 * into a copy that it offers. Returns how many bitmaps there are.
 */
export async function expectSameBits(qemu: QemuRelease, theirs: Workbench, ours: Workbench): Promise<number> {
  const { stdout } = await qemu.img(["info", "--output=json", "image"], { cwd: theirs.folder });
  const info = JSON.parse(stdout) as {
    "format-specific": { data: { bitmaps?: { name: string; granularity: number }[] } };
  };
  const bitmaps = info["format-specific"].data.bitmaps ?? [];
  for (const { name, granularity } of bitmaps) {
    const [actual, expected] = await Promise.all(
      [ours, theirs].map(async (bench) => {
        const copy = bench.path(`${name}.copy`);
        copyFileSync(bench.path("image"), copy);
        await qemu.img(["bitmap", "--add", "-g", String(granularity), "--merge", name, copy, "judged"]);
        return await dirtyRangesByQemu(qemu, copy, "judged");
      }),
    );
    assert.deepEqual({ name, dirty: actual }, { name, dirty: expected });
  }
  return bitmaps.length;
}
