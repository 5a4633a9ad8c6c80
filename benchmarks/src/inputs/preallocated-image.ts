/** A large image with many clusters and no data: what metadata costs by itself. */
import { formatBytes } from "../report/units.ts";
import type { InputKind } from "./input-kind.ts";

export const PREALLOCATED_IMAGE: InputKind = {
  name: "preallocated",
  title: ({ sparse, preallocated }) =>
    `an image of ${formatBytes(sparse)}, the first ${formatBytes(preallocated)} allocated by metadata preallocation`,
  file: "preallocated.qcow2",
  format: "qcow2",
  content: undefined,
  needs: [],
  // Eight bytes of L2 table and two of refcount for each cluster of 64 KiB.
  bytes: ({ preallocated }) => (preallocated / 65536) * 10,
  make: async ({ path, sizes, img }) => {
    await img(["create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", path, `${sizes.preallocated}`]);
    await img(["resize", "-q", "-f", "qcow2", path, `${sizes.sparse}`]);
  },
};
