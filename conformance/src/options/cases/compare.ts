import type { DeclaredCase } from "../option-case.ts";

export const COMPARE_CASES: readonly DeclaredCase[] = [
  "compare raw compressed",
  "compare -f raw -F qcow2 raw base",
  "compare --a-format raw --b-format qcow2 raw compressed",
  "compare --left-format raw --right-format qcow2 raw base",
  "compare -s raw compressed",
  "compare -s base top",
  "compare -s base empty",
  "compare base empty",
  "compare --strict raw raw",
  "compare -q base overlay",
  "compare --quiet --progress --force-share --cache unsafe raw compressed",
  { line: "compare -p -U -T none raw compressed", ledger: [6] },
  "compare --image-opts driver=raw,file.filename=raw driver=qcow2,file.filename=compressed",
  "compare --object secret,id=s,data=x raw compressed",
  "compare -f raw -F raw raw odd.raw",
  "compare empty odd.raw",
  "compare -T sometimes raw compressed",
  { line: "compare raw missing" },
  { line: "compare raw" },
];
