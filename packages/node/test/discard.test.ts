/** Space that a real file system gets back. */
import fs from "node:fs/promises";
import { Qcow2Image } from "@qcow2/core";
import { execa } from "execa";
import { expect, it } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { openDisk } from "../src/open/open-disk.ts";
import { incompressible } from "./bytes.ts";
import { whyNot } from "./host-tools.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const MIB = 2 ** 20;
const inDirectory = useTemporaryDirectory();
const noQemuImg = await whyNot("qemu-img", ["--version"]);

async function filledImage(): Promise<string> {
  const path = inDirectory("disk.qcow2");
  const storage = await FileStorage.open(path, { create: true });
  await using image = await Qcow2Image.create({ storage, size: 16 * MIB });
  await image.write({ offset: 0, from: incompressible(16 * MIB, 3) });
  return path;
}

async function allocatedBytes(path: string): Promise<number> {
  const { blocks } = await fs.stat(path);
  return blocks * 512;
}

it("gives back holes and the end of the file", async ({ skip }) => {
  const path = await filledImage();
  const storage = await FileStorage.open(path);
  const canPunch = storage.punchHole !== undefined;
  await storage.close();
  if (!canPunch) return skip("no holes can be punched here");
  const before = { size: (await fs.stat(path)).size, allocated: await allocatedBytes(path) };
  {
    await using image = await openDisk({ path, image: { discard: "unmap" } });
    await image.discard({ offset: 2 * MIB, length: 4 * MIB });
    await image.writeZeroes({ offset: 8 * MIB, length: 8 * MIB, unmap: true });
  }
  expect((await fs.stat(path)).size).toBe(before.size - 8 * MIB);
  expect(await allocatedBytes(path)).toBeLessThanOrEqual(before.allocated - 12 * MIB + 65536);
  await using reopened = await openDisk({ path, readOnly: true });
  const into = new Uint8Array(16 * MIB);
  await reopened.read({ offset: 0, into });
  const expected = incompressible(16 * MIB, 3)
    .fill(0, 2 * MIB, 6 * MIB)
    .fill(0, 8 * MIB);
  expect(expected.equals(into)).toBe(true);
  if (noQemuImg !== undefined) return;
  const { stdout } = await execa("qemu-img", ["check", path]);
  expect(stdout).toContain("No errors were found");
});
