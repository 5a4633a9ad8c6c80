import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type Codecs, type Disk, denyReferences, Qcow2Image } from "@qcow2/core";
import { FileStorage } from "@qcow2/node";

/**
 * A new overlay of `backing`, in a temporary file that is gone when it is closed, or when the process ends. Closing it
 * closes `backing`, too.
 */
export async function overlayInTemporaryFile(backing: Disk, codecs: Codecs): Promise<Qcow2Image> {
  const folder = await mkdtemp(path.join(tmpdir(), "qcow2-io-"));
  try {
    const file = path.join(folder, "overlay.qcow2");
    const storage = await FileStorage.open(file, {
      create: true,
      exclusive: true,
      keepsName: false,
      mode: 0o600,
    });
    try {
      return await Qcow2Image.create({
        storage,
        size: backing.size,
        backingFile: { name: path.resolve(backing.name), format: backing.format },
        references: { ...denyReferences(), openBackingFile: async () => backing },
        codecs,
      });
    } catch (error) {
      await storage.close();
      throw error;
    }
  } catch (error) {
    await backing.close();
    throw error;
  } finally {
    // The open file outlives its name.
    await rm(folder, { recursive: true, force: true });
  }
}
