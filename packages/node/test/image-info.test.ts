import fs from "node:fs/promises";
import { Qcow2Image } from "@qcow2/core";
import { describe, expect, it } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { imageInfo } from "../src/open/image-info.ts";
import { type OpenDiskOptions, openDisk } from "../src/open/open-disk.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();

/** What opening as a disk tells: the answer, or the error. */
async function answerOfDisk(options: OpenDiskOptions): Promise<unknown> {
  try {
    await using disk = await openDisk({ ...options, readOnly: true, metadataOnly: true });
    const qcow2 = disk instanceof Qcow2Image ? disk.info() : undefined;
    return { format: disk.format, virtualSize: disk.size, qcow2 };
  } catch (error) {
    return error;
  }
}

async function answer(options: OpenDiskOptions): Promise<unknown> {
  try {
    const { format, virtualSize, qcow2 } = await imageInfo(options);
    return { format, virtualSize, qcow2 };
  } catch (error) {
    return error;
  }
}

async function createImages(): Promise<void> {
  const create = async (name: string, options: Omit<Parameters<typeof Qcow2Image.create>[0], "storage">) => {
    const storage = await FileStorage.open(inDirectory(name), { create: true });
    return await Qcow2Image.create({ storage, ...options });
  };
  {
    await using image = await create("rich.qcow2", {
      size: 2 ** 24 + 512,
      clusterSize: 32768,
      extendedL2: true,
    });
    await image.write({ offset: 4096, from: new Uint8Array(70_000).fill(7) });
    await image.createSnapshot({ name: "first", id: "12" });
    await image.changeBitmaps([{ kind: "add", name: "changes", granularity: 65536 }]);
  }
  await (await create("plain.qcow2", { size: 2 ** 30, version: 2 })).close();
  const whole = await fs.readFile(inDirectory("rich.qcow2"));
  await fs.writeFile(inDirectory("short.qcow2"), whole.subarray(0, 40));
  await fs.writeFile(inDirectory("raw.img"), new Uint8Array(1000));
  await fs.writeFile(inDirectory("empty.img"), "");
  await fs.writeFile(inDirectory("other.vmdk"), "KDMV and so on");
}

describe("imageInfo", () => {
  it("answers, and refuses, as an open disk does", async () => {
    await createImages();
    const names = [
      "rich.qcow2",
      "plain.qcow2",
      "short.qcow2",
      "raw.img",
      "empty.img",
      "other.vmdk",
      "missing",
      ".",
    ];
    for (const name of names) {
      for (const format of [undefined, "raw", "qcow2", "vmdk"]) {
        const options = { path: inDirectory(name), format };
        expect(await answer(options), `${name} as ${format}`).toEqual(await answerOfDisk(options));
      }
    }
    const { qcow2 } = await imageInfo({ path: inDirectory("rich.qcow2") });
    expect(qcow2?.snapshots.map(({ name }) => name)).toEqual(["first"]);
    expect(qcow2?.bitmaps.map(({ name }) => name)).toEqual(["changes"]);
  });

  it("finds an image within a file", async () => {
    await createImages();
    const image = await fs.readFile(inDirectory("plain.qcow2"));
    await fs.writeFile(inDirectory("part.bin"), Buffer.concat([Buffer.alloc(1024), image]));
    const options = { path: inDirectory("part.bin"), range: { offset: 1024 } };
    expect(await answer(options)).toEqual(await answerOfDisk(options));
    expect(await imageInfo(options)).toMatchObject({ format: "qcow2", virtualSize: 2 ** 30 });
  });

  it("respects the lock of a writer unless told otherwise, and leaves nothing locked", async () => {
    await createImages();
    for (const name of ["rich.qcow2", "short.qcow2", "raw.img"]) {
      const path = inDirectory(name);
      await answer({ path });
      await using writer = await FileStorage.open(path);
      expect(await answer({ path }), name).toEqual(
        // A look at a raw image does not mind that others write to it; a copy of it would.
        await answerOfDisk({ path, readOnly: true, allowWriters: true }),
      );
      expect(await answer({ path, forceShare: true }), name).toEqual(
        await answerOfDisk({ path, readOnly: true, forceShare: true }),
      );
      if (writer.useByOthers() !== undefined && name === "rich.qcow2") {
        await expect(imageInfo({ path })).rejects.toMatchObject({ code: "locked" });
      }
    }
  });
});
