import { CommandError } from "../errors/command-errors.ts";

/** The image formats of QEMU, any of which can be recorded as that of a backing file. */
const FORMAT_NAMES: ReadonlySet<string> = new Set([
  "bochs",
  "cloop",
  "dmg",
  "luks",
  "parallels",
  "qcow",
  "qcow2",
  "qed",
  "raw",
  "vdi",
  "vhdx",
  "vmdk",
  "vpc",
  "vvfat",
]);

/** @throws CommandError */
export function assertFormatName(name: string): void {
  if (!FORMAT_NAMES.has(name)) throw new CommandError(`Invalid format name: '${name}'`);
}
