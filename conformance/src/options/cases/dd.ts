import type { DeclaredCase } from "../option-case.ts";

/** QEMU writes zeroes, too. */
const intoQcow2 = (line: string): DeclaredCase => ({ line, except: "maps" });

export const DD_CASES: readonly DeclaredCase[] = [
  "dd -f raw if=raw of=out",
  intoQcow2("dd -f raw -O qcow2 if=raw of=out"),
  "dd if=compressed of=out bs=64k",
  "dd -f raw bs=1k count=10 if=raw of=out",
  "dd -f raw bs=1k count=20 skip=3 if=raw of=out",
  "dd -f raw bs=1000 skip=3 if=raw of=out",
  "dd -f raw bs=1000 skip=3 count=2 if=raw of=out",
  "dd -f raw bs=1M skip=5 if=raw of=out",
  "dd -f raw bs=1.5k count=3 if=raw of=out",
  "dd -f raw count=0 if=raw of=out",
  "dd -f raw count=10M if=raw of=out",
  "dd -f raw bs=4k bs=2k count=1 if=raw of=out",
  intoQcow2("dd --format raw --output-format qcow2 --force-share if=raw of=out"),
  intoQcow2("dd -U -O qcow2 if=top of=base2"),
  "dd --image-opts if=driver=raw,file.filename=raw of=out",
  "dd --object secret,id=s,data=x -f raw if=raw of=out",
  "dd -f raw skip=-1 if=raw of=out",
  "dd -f raw bs=0 if=raw of=out",
  "dd -f raw bs=3G if=raw of=out",
  "dd -f raw bs=abc if=raw of=out",
  "dd if=raw",
  "dd of=out",
  "dd foo=1 if=raw of=out",
  "dd raw out",
  "dd --image-opts -f raw if=driver=raw,file.filename=raw of=out",
  { line: "dd if=missing of=out" },
  { line: "dd -O sometimes -f raw if=raw of=out" },
  "dd -f raw if=raw of=nowhere/out",
];
