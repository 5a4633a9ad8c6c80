/** What was copied is one state of the disk only if nobody wrote to it meanwhile. */
import type { Disk } from "@qcow2/core";
import { filesOf } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";
import type { Warned } from "./in-place-warning.ts";

/**
 * To be asked before what was copied replaces anything: locks keep out who respects them, and others can still cut a file
 * off or write to it, whose end then reads as zeroes. Called as qemu-img, there is a warning, because that never looks.
 * @throws CommandError
 */
export function assertUnchanged(disks: readonly Disk[], { program, onWarning }: Warned): void {
  const changed = disks.flatMap(filesOf).find((file) => file.readOnly && file.hasChanged());
  if (changed === undefined) return;
  const message = `'${changed.name}' was changed by somebody else while it was read`;
  if (program !== "qemu-img") throw new CommandError(message);
  onWarning(message);
}
