/** A raw file and the engine's disk that is measured against it, in one folder and with the same content. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Qcow2Image, RawDisk, type WritableDisk } from "@qcow2/core";
import { FileStorage } from "@qcow2/node";
import { Random } from "../disk/random.ts";
import { WrongResult } from "../run/verify.ts";
import type { Subject } from "./engine-results.ts";

export const CLUSTER_BYTES = 65536;
const PIECE_BYTES: number = 1 << 20;

export interface DiskPair {
  readonly raw: WritableDisk;
  readonly engine: WritableDisk;
  /** Closes both and removes their files. */
  dispose(): Promise<void>;
}

/** Makes both disks of `sizeBytes`, a multiple of 1 MiB; their data is on the disk and in memory when it returns. */
export async function makePair(subject: Subject, folder: string, sizeBytes: number): Promise<DiskPair> {
  const rawPath = join(folder, "raw.img");
  const enginePath = join(folder, "engine.img");
  const raw = await newRaw(rawPath, sizeBytes);
  if (subject !== "fresh") await fill(raw);
  const engine = await makeEngineDisk(subject, enginePath, raw);
  await raw.flush();
  await engine.flush();
  return {
    raw,
    engine,
    dispose: async () => {
      await engine.close();
      await raw.close();
      await rm(enginePath);
      await rm(rawPath);
    },
  };
}

async function makeEngineDisk(subject: Subject, path: string, raw: RawDisk): Promise<WritableDisk> {
  const { size } = raw;
  if (subject === "control") {
    const second = await newRaw(path, size);
    await fill(second);
    return second;
  }
  const references = {
    openBackingFile: async () =>
      RawDisk.open({ storage: await FileStorage.open(raw.name, { readOnly: true, forceShare: true }) }),
    openDataFile: () => Promise.reject(new Error("there is no data file")),
  };
  const created = await Qcow2Image.create({
    storage: await FileStorage.open(path, { create: true, exclusive: true }),
    size,
    clusterSize: CLUSTER_BYTES,
    ...(subject === "overlay" ? { references, backingFile: { name: raw.name, format: "raw" } } : {}),
  });
  if (subject === "allocated") await fill(created);
  await created.close();
  // Opened anew: a new image may leave out flushes, others may not.
  return Qcow2Image.open({ storage: await FileStorage.open(path), references });
}

async function newRaw(path: string, size: number): Promise<RawDisk> {
  const storage = await FileStorage.open(path, { create: true, exclusive: true });
  await storage.truncate(size);
  return RawDisk.open({ storage });
}

/** Noise, the same each time. */
async function fill(disk: WritableDisk): Promise<void> {
  const piece = new Uint8Array(PIECE_BYTES);
  new Random(1, "engine").fill(piece);
  for (let offset = 0; offset < disk.size; offset += piece.length) {
    new DataView(piece.buffer).setFloat64(0, offset);
    await disk.write({ offset, from: piece });
  }
}

/** @throws WrongResult if the disks differ */
export async function assertSameContent({ raw, engine }: DiskPair): Promise<void> {
  const [expected, found] = [Buffer.alloc(PIECE_BYTES), Buffer.alloc(PIECE_BYTES)];
  for (let offset = 0; offset < raw.size; offset += PIECE_BYTES) {
    await Promise.all([raw.read({ offset, into: expected }), engine.read({ offset, into: found })]);
    if (!expected.equals(found)) {
      throw new WrongResult(`the engine's disk differs from the raw file in the 1 MiB from offset ${offset}`);
    }
  }
}
