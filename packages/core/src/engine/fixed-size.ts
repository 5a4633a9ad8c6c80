/** Room in storages that cannot grow: block devices. */
import { Qcow2Error } from "../errors.ts";
import type { Storage } from "../storage/storage.ts";

/** How many whole clusters there can be: as many as a storage of fixed size has, else any number. */
export async function endClusterOf(storage: Storage, clusterSize: number): Promise<number> {
  if (storage.fixedSize !== true) return Number.POSITIVE_INFINITY;
  return Math.floor((await storage.size()) / clusterSize);
}

/** No cluster is left: as if the host had said so, but before anything refers to one that does not exist. */
export function noSpace(name: string): Qcow2Error<"io"> {
  return new Qcow2Error("io", `Could not allocate space on '${name}': No space left on device`, {
    operation: "allocate space on",
    name,
    errno: "ENOSPC",
  });
}
