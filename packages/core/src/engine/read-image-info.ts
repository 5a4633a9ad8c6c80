import type { Storage } from "../storage/storage.ts";
import { describeImage } from "./describe-image.ts";
import type { Qcow2Info } from "./image-info.ts";
import { openImage } from "./open-image.ts";

/**
 * What `Qcow2Image.info()` answers for an image that was opened with `metadataOnly`, for programs that want nothing
 * else of it: the engine is not loaded. Reads header, L1 and refcount table, snapshot table and bitmap directory.
 * `storage` stays open and the caller's.
 * @throws Qcow2Error as `Qcow2Image.open`
 */
export async function readImageInfo(storage: Storage): Promise<Qcow2Info> {
  return describeImage(await openImage({ storage, metadataOnly: true }));
}
