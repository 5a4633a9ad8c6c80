/** The last line of defence against damaged images: guest data never goes where the header or a resident table is. */
import { Qcow2Error } from "../errors.ts";
import type { OpenImage } from "./open-image.ts";

/**
 * Throws if host bytes start .. end (exclusive) of the image file touch the header, the active L1 table or the refcount
 * table. A refcount or an L2 entry that leads there is wrong, and believing it would destroy the image.
 * @throws Qcow2Error "corrupt"
 */
export function assertNoMetadata(image: OpenImage, start: number, end: number): void {
  const { l1 } = image.mapping;
  const { table } = image.refcounts;
  if (start < image.layout.geometry.clusterSize) throw overlap("header", 0);
  if (start < l1.offset + l1.bytes.length && l1.offset < end) throw overlap("active L1 table", l1.offset);
  if (start < table.offset + table.bytes.length && table.offset < end) {
    throw overlap("refcount table", table.offset);
  }
}

function overlap(structure: string, offset: number): Qcow2Error {
  return new Qcow2Error(
    "corrupt",
    `Refused to write over the ${structure} at host offset ${offset}: the image's metadata is damaged`,
    { structure, offset },
  );
}
