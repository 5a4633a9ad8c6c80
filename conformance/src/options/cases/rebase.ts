import type { DeclaredCase } from "../option-case.ts";

/** Zeroes that are copied are marked as such by ours wherever the format can, and written by QEMU's now and then. */
const copies = (line: string, ...ledger: number[]): DeclaredCase => ({ line, ledger, except: "zeroes" });

export const REBASE_CASES: readonly DeclaredCase[] = [
  copies("rebase -b snaps -F qcow2 overlay"),
  copies("rebase -f qcow2 -t none -T none -p -b snaps -F qcow2 overlay", 6),
  copies("rebase -t directsync -T directsync -b base -F qcow2 top"),
  copies("rebase -b '' top"),
  copies("rebase -c -b '' top"),
  copies("rebase --compress --quiet --progress --backing '' --force-share --format qcow2 top"),
  copies("rebase -q -U -t writethrough -b base -F qcow2 top"),
  copies("rebase --backing base --backing-format qcow2 --cache unsafe --backing-cache unsafe top"),
  copies("rebase --image-opts -b base -F qcow2 driver=qcow2,file.filename=top"),
  copies("rebase --object secret,id=s,data=x -b base -F qcow2 top"),
  "rebase -u -b base -F qcow2 top",
  "rebase --backing-unsafe --backing snaps --backing-format qcow2 top",
  "rebase -u -b '' -p top",
  { line: "rebase -u -b missing -F raw top", except: "content" },
  "rebase -t sometimes -b base -F qcow2 top",
  "rebase -T sometimes -b base -F qcow2 top",
  // QEMU copies before it refuses.
  { line: "rebase -b base top", except: "maps" },
  "rebase -b missing -F raw top",
  { line: "rebase top" },
];
