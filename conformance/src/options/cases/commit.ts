import type { DeclaredCase } from "../option-case.ts";

/** On `overlay` they would tell of `sibling`, which reads the same backing file (ledger 10). */
export const COMMIT_CASES: readonly DeclaredCase[] = [
  "commit top",
  "commit -q -f qcow2 top",
  "commit -d -t writethrough top",
  "commit -b overlay top",
  { line: "commit -p -r 1G -t directsync top", ledger: [6] },
  "commit --quiet --drop --base overlay --rate 1G --cache none --format qcow2 top",
  { line: "commit --progress -t unsafe top", ledger: [6] },
  "commit --image-opts driver=qcow2,file.filename=top",
  "commit --object secret,id=s,data=x top",
  { line: "commit overlay", ledger: [10] },
  { line: "commit -b base -q top", ledger: [10] },
  "commit -b nothing top",
  "commit base",
  "commit -f raw raw",
  "commit -t sometimes top",
  { line: "commit -r fast top" },
];
