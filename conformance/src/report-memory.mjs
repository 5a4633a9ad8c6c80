/** Preloaded into our command: appends its peak resident memory (KiB) to a file when it ends. */
import { appendFileSync } from "node:fs";

process.on("exit", () => {
  const file = process.env.QCOW2_CONFORMANCE_MEMORY;
  if (file !== undefined) appendFileSync(file, `${process.resourceUsage().maxRSS}\n`);
});
