import type { DeclaredCase } from "../option-case.ts";

export const INFO_CASES: readonly DeclaredCase[] = [
  "info base",
  "info -f qcow2 snaps",
  "info -f raw base",
  "info --format qcow2 --output json bitmaps",
  "info -b top",
  "info --backing-chain --output=json top",
  "info -U datafile",
  "info --force-share version2",
  "info --output=human odd.raw",
  "info --image-opts driver=qcow2,file.filename=base",
  "info -U --image-opts driver=qcow2,file.filename=base,force-share=on",
  "info -U --image-opts driver=qcow2,file.filename=base,force-share=off",
  "info --object secret,id=s,data=x base",
  { line: "info --output=xml base" },
  { line: "info missing" },
  { line: "info" },
];
