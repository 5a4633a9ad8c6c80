/** What is said of a target that does not come about in one step. */
import type { InPlaceReason, TargetFile } from "@qcow2/node";
import type { ProgramName } from "../program.ts";

/** Nobody expects a device to be replaced. */
const REASONS: Readonly<Record<Exclude<InPlaceReason, "device">, string>> = {
  descriptor: "it is named by a descriptor",
  "hard-links": "it has other names (hard links)",
  mount: "it is mounted by itself",
  folder: "no file in its folder can be replaced",
};

export interface Warned {
  readonly program: ProgramName;
  onWarning(message: string): void;
}

/** To scripts that call qemu-img, nothing is said: it writes everything in place. */
export function warnInPlace({ program, onWarning }: Warned): (target: TargetFile) => void {
  return ({ path, inPlaceReason: reason }) => {
    if (program === "qemu-img" || reason === undefined || reason === "device") return;
    onWarning(
      `'${path}' is written in place, because ${REASONS[reason]}: what it holds is lost if this does not come to its end`,
    );
  };
}
