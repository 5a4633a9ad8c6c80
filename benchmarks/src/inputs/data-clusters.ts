/** A raw disk's clusters that are not all zeroes: what an image of it has to hold. */
import { type FileHandle, open } from "node:fs/promises";
import type { Random } from "../disk/random.ts";

export const CLUSTER_BYTES = 65536;

export interface ClusterReader extends AsyncDisposable {
  /** Bytes of the disk. */
  readonly size: number;
  /** Indices of the clusters that hold data, ascending. */
  dataClusters(): Promise<number[]>;
  /** The cluster's bytes, valid until the next call; fewer than a cluster at the disk's end. */
  read(index: number): Promise<Uint8Array>;
}

export async function openClusters(path: string): Promise<ClusterReader> {
  const file = await open(path);
  const { size } = await file.stat();
  const buffer = Buffer.alloc(CLUSTER_BYTES);
  const zeroes = Buffer.alloc(CLUSTER_BYTES);
  const read = async (index: number): Promise<Buffer> => {
    const wanted = Math.min(CLUSTER_BYTES, size - index * CLUSTER_BYTES);
    const bytes = buffer.subarray(0, wanted);
    await readFully(file, bytes, index * CLUSTER_BYTES);
    return bytes;
  };
  return {
    size,
    read,
    dataClusters: async () => {
      const found: number[] = [];
      for (let index = 0; index * CLUSTER_BYTES < size; index++) {
        const bytes = await read(index);
        if (!bytes.equals(zeroes.subarray(0, bytes.length))) found.push(index);
      }
      return found;
    },
    [Symbol.asyncDispose]: () => file.close(),
  };
}

async function readFully(file: FileHandle, into: Buffer, offset: number): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await file.read(into, done, into.length - done, offset + done);
    if (bytesRead === 0) throw new Error(`the disk ends at ${offset + done}, sooner than it said`);
    done += bytesRead;
  }
}

/** Another order of the same items, drawn evenly from all orders. */
export function shuffle<T>(items: readonly T[], random: Random): T[] {
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    [shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!];
  }
  return shuffled;
}
