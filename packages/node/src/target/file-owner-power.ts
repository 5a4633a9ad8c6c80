/** Whether this process may do with a file what otherwise only its owner may. */
import fs from "node:fs";

/** Of capabilities(7): as if it owned every file. */
const CAP_FOWNER = 3n;

/** What the host calls owners that have no number in the namespace of the process. */
const OVERFLOW_OWNER = 65534;

/** The namespace in which everybody has the number that the kernel knows. */
const ALL_OWNERS = /^\s*0\s+0\s+4294967295\s*$/;

/** Being "root" is not enough: containers have roots without that power, or with power over their own users only. */
export function hasPowerOver(owner: number): boolean {
  try {
    const status = fs.readFileSync("/proc/self/status", "latin1");
    const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
    if (((effective >> CAP_FOWNER) & 1n) === 0n) return false;
    return owner !== OVERFLOW_OWNER || ALL_OWNERS.test(fs.readFileSync("/proc/self/uid_map", "latin1"));
  } catch {
    // Not Linux, or without /proc.
    return process.geteuid?.() === 0;
  }
}
