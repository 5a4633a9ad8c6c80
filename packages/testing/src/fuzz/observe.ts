/** What can be read of an image: the active disk and its snapshots, cluster by cluster. */
import type { Qcow2Image } from "@qcow2/core";
import { type GuardOptions, guarded } from "./guarded-run.ts";

/** The clusters of a disk that can be read, by their guest offset. */
export interface DiskView {
  readonly size: number;
  readonly clusterSize: number;
  readonly clusters: Map<number, Uint8Array>;
}

export interface ImageView {
  readonly active: DiskView;
  /** By id and name; those that share both are left out. */
  readonly snapshots: Map<string, DiskView>;
}

/** Larger disks are looked at where they begin and end. */
const MOST_BYTES: number = 6 * 2 ** 20;

export function snapshotKey({ id, name }: { readonly id: string; readonly name: string }): string {
  return JSON.stringify([id, name]);
}

/**
 * Snapshots that can be told apart, and opened by their id. One without an id is none: nobody makes them, but a header
 * that counts too many finds them in the zeroes behind the table, and a repair takes them out of it.
 */
export function distinctSnapshots(image: Qcow2Image): { readonly id: string; readonly name: string }[] {
  const { snapshots } = image.info();
  const users = new Map<string, number>();
  for (const { id, name } of snapshots) {
    for (const text of new Set([id, name])) users.set(text, (users.get(text) ?? 0) + 1);
  }
  return snapshots.filter(({ id }) => id !== "" && users.get(id) === 1);
}

export async function viewOfDisk(image: Qcow2Image, options: GuardOptions): Promise<DiskView> {
  const { size } = image;
  const { clusterSize } = image.info();
  const clusters = new Map<number, Uint8Array>();
  const pieces =
    size <= MOST_BYTES
      ? [[0, size]]
      : [
          [0, MOST_BYTES / 4],
          [size - clusterSize, size],
        ];
  for (const [from, to] of pieces as [number, number][]) {
    const whole = await readRange(image, from, to, options);
    for (let offset = from; offset < to; offset += clusterSize) {
      const end = Math.min(offset + clusterSize, to);
      const bytes =
        whole?.subarray(offset - from, end - from) ?? (await readRange(image, offset, end, options));
      if (bytes !== undefined) clusters.set(offset, bytes);
    }
  }
  return { size, clusterSize, clusters };
}

async function readRange(
  image: Qcow2Image,
  from: number,
  to: number,
  options: GuardOptions,
): Promise<Uint8Array | undefined> {
  if (to <= from) return new Uint8Array(0);
  const into = new Uint8Array(to - from).fill(0xa5);
  const { error } = await guarded(
    "read",
    { ...options, bytes: into.length },
    async () => await image.read({ offset: from, into }),
  );
  return error === undefined ? into : undefined;
}

/** The first difference of what `before` has from `now`, in words; undefined if there is none. */
export function lostIn(before: ImageView, now: ImageView | undefined): string | undefined {
  const active = lostInDisk(before.active, now?.active);
  if (active !== undefined) return active;
  for (const [key, disk] of before.snapshots) {
    const lost = lostInDisk(disk, now?.snapshots.get(key));
    if (lost !== undefined) return `snapshot ${key}: ${lost}`;
  }
  return undefined;
}

export function lostInDisk(before: DiskView, now: DiskView | undefined): string | undefined {
  if (before.clusters.size === 0) return undefined;
  if (now === undefined) return `${before.clusters.size} clusters cannot be read any more`;
  if (now.size < before.size && now.clusters.size === 0) return `nothing can be read any more`;
  for (const [offset, bytes] of before.clusters) {
    const found = now.clusters.get(offset);
    if (found === undefined) return `guest offset ${offset} cannot be read any more`;
    if (Buffer.compare(bytes, found) !== 0) return `guest offset ${offset} reads differently`;
  }
  return undefined;
}
