/** What the name of an image says of it, for whoever opens it. */
import type { Qcow2Info } from "@qcow2/core";
import type { OpenDiskOptions } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";
import type { ImageName } from "../options/image-name.ts";
import { FILE_DRIVERS } from "../options/node-options.ts";

/** How the file is found and read. */
export function placeOf({
  path,
  format,
  range,
  locking,
  backing,
  dataFile,
}: ImageName): Pick<OpenDiskOptions, "path" | "format" | "range" | "locking" | "backing" | "dataFile"> {
  // To QEMU, a file is a disk of its own; its bytes are those of a raw image.
  const isFile = format !== undefined && FILE_DRIVERS.includes(format);
  return { path, format: isFile ? "raw" : format, range, locking, backing, dataFile };
}

/** What is not encrypted may not be claimed to be. @throws CommandError */
export function assertEncryption({ encryption }: ImageName, info: Qcow2Info): void {
  if (encryption === undefined || info.encryption !== "none") return;
  throw new CommandError(`No encryption in image header, but options specified format '${encryption}'`);
}
