import type { DeclaredCase } from "../option-case.ts";

export const MAP_CASES: readonly DeclaredCase[] = [
  "map base",
  "map -f qcow2 --output=json top",
  "map --format raw --output json odd.raw",
  "map -s 64k -l 128k top",
  "map --start-offset 64k --max-length 128k --output=json top",
  "map -s 100 -l 1000 --output=json base",
  "map -s 100 -l 1000 base",
  "map -s 2M base",
  "map -s 2M --output=json base",
  "map -l 0 --output=json base",
  "map -U datafile",
  "map --force-share snaps",
  "map --image-opts driver=qcow2,file.filename=top",
  "map --object secret,id=s,data=x base",
  "map compressed",
  "map --output=json compressed",
  { line: "map -s abc base" },
  { line: "map -l abc base" },
  { line: "map luks", ledger: [1] },
];
