import { Qcow2Error } from "../../errors.ts";
import { EXTENSION_DATA_FILE } from "../../format/header-extensions.ts";
import type { ImageLayout } from "../image-layout.ts";

/**
 * One bit of the header says whether guest data is in this file or another one; a repair that believed it while the name
 * of a data file contradicts it would free all data, or empty all entries. @throws Qcow2Error "needs-repair"
 */
export function assertDataPlace({ hasDataFile, extensions }: ImageLayout): void {
  const isNamed = extensions.some(({ type }) => type === EXTENSION_DATA_FILE);
  if (hasDataFile === isNamed) return;
  throw new Qcow2Error(
    "needs-repair",
    hasDataFile
      ? "The image needs an external data file but does not name it: if that is wrong, repairing it would free all guest " +
          "data. It was left as it is"
      : "The image names an external data file but does not say that guest data is there: if that is wrong, repairing it " +
          "would empty all entries. It was left as it is",
    { state: "corrupt" },
  );
}
