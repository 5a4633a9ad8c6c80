/** Files that the kernel makes up are no storage, whoever names them. */
import { symlinkSync } from "node:fs";
import { isQcow2Error, Qcow2Image } from "@qcow2/core";
import { describe, expect, it } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { openDisk } from "../src/open/open-disk.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();
const isUnsupported = (error: unknown): boolean => isQcow2Error(error, "unsupported");

// Other systems have no file systems of that kind.
describe.skipIf(process.platform !== "linux")("on Linux", () => {
  it.each(["/proc/self/environ", "/proc/self/mem", "/proc/version", "/sys/kernel/notes"])(
    "%s",
    async (path) => {
      const link = inDirectory("link");
      symlinkSync(path, link);
      for (const name of [path, link]) {
        await expect(FileStorage.open(name, { readOnly: true })).rejects.toSatisfy(isUnsupported);
      }
    },
  );

  it("are not opened because an image names them", async () => {
    const path = inDirectory("image.qcow2");
    const storage = await FileStorage.open(path, { create: true });
    const dataStorage = await FileStorage.open(inDirectory("data"), { create: true });
    const image = await Qcow2Image.create({
      storage,
      size: 2 ** 20,
      dataFile: { name: "/proc/self/mem", storage: dataStorage },
    });
    await image.close();
    for (const readOnly of [true, false]) {
      await expect(openDisk({ path, readOnly })).rejects.toSatisfy(isUnsupported);
    }
  });
});
