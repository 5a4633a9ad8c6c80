import type { DeclaredCase } from "../option-case.ts";

export const BITMAP_CASES: readonly DeclaredCase[] = [
  "bitmap --add base new",
  "bitmap --add -f qcow2 --disable -g 32k base new",
  "bitmap --add --granularity 1M base new",
  "bitmap --remove bitmaps still",
  "bitmap --clear --disable bitmaps followed",
  "bitmap --enable bitmaps still",
  "bitmap --merge followed bitmaps still",
  "bitmap --add --merge followed -b bitmaps -F qcow2 base new",
  "bitmap --add --merge followed --source-file bitmaps --source-format qcow2 base new",
  "bitmap --image-opts --add driver=qcow2,file.filename=base new",
  "bitmap --object secret,id=s,data=x --add base new",
  "bitmap --remove broken unsaved",
  "bitmap -g 512 --enable bitmaps still",
  "bitmap -b bitmaps --enable bitmaps still",
  "bitmap -F qcow2 --enable bitmaps still",
  "bitmap bitmaps still",
  { line: "bitmap --add base" },
  { line: "bitmap --add version2 new", ledger: [1] },
];
