/** What of an image no repair can keep, because it cannot be read; nobody knows what it refers to. */
import type { Storage } from "../../storage/storage.ts";
import type { ImageLayout } from "../image-layout.ts";
import { surveyBitmaps } from "./mend-bitmaps.ts";
import { irreparableSnapshots } from "./mend-snapshots.ts";
import type { Irreparable } from "./repair-options.ts";
import { surveySnapshots } from "./survey-snapshots.ts";

/** @throws Qcow2Error "io" */
export async function irreparableIn(storage: Storage, layout: ImageLayout): Promise<Irreparable[]> {
  return [
    ...irreparableSnapshots(await surveySnapshots(storage, layout)),
    ...(await surveyBitmaps(storage, layout)).irreparable,
  ];
}
