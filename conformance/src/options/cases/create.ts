import type { DeclaredCase } from "../option-case.ts";

export const CREATE_CASES: readonly DeclaredCase[] = [
  "create out 1M",
  "create -f raw -o preallocation=full out 1M",
  "create -f raw -o nocow=off out 1000",
  "create -f qcow2 -o nocow=on out 1M",
  "create -o extent_size_hint=1M out 1M",
  "create -q -f qcow2 -o cluster_size=4k out 1.5M",
  "create -f qcow2 -b base -F qcow2 out",
  "create -f qcow2 -b base -F qcow2 out 512k",
  "create --quiet --format qcow2 --options cluster_size=4k --backing base --backing-format qcow2 out",
  // Its backing file is missing, so that nobody can read it.
  { line: "create -u -f qcow2 -b missing -F raw out 1M", except: "content" },
  "create --backing-unsafe -f qcow2 -b base -F qcow2 out 1M",
  "create --object secret,id=s,data=x -f qcow2 out 1M",
  "create -u -f qcow2 -b missing out 1M",
  "create -u -f qcow2 -b missing -F raw out",
  { line: "create -f qcow2 -b base out" },
  "create -f qcow2 -F qcow2 out 1M",
  "create -f raw -b base -F qcow2 out",
  { line: "create -o help", ledger: [13] },
  { line: "create -f raw -o help out", ledger: [13] },
  { line: "create -f qcow2 -o help", ledger: [13] },
  { line: "create -f qcow2 -o cluster_size=64k,help out", ledger: [13] },
  "create -f sometimes out 1M",
  "create -f qcow2 -o size=1M out",
  "create -f qcow2 -o size=1M out 1M",
  ...["0", "0x100000", "' 1M'", "1048576b", "1M", "1.M", ".5M", "1.5k", "0x10", "+1M", "1000001"].map(
    (size) => `create -f qcow2 out ${size}`,
  ),
  ...["1e3", "1KiB", "1kB", "1Z", "0x1M", "M", "1.5", "-1", "''", "1,5M"].map((size) => ({
    line: `create -f qcow2 out ${size}`,
  })),
  "create -f qcow2 out",
  { line: "create -f qcow2 out 1M more" },
  { line: "create -f qcow2" },
];
