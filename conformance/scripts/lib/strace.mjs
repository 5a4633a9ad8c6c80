/** strace, which makes the kernel refuse system calls, unpacked from Debian's packages where it is not installed. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { asRoot, cache, lastLine, onPath, rootPrefix, run } from "./debian.mjs";

/** @returns where it is, or why it cannot be had */
export async function ensureStrace() {
  if (onPath("strace")) return { found: "on PATH" };
  const final = join(cache, "strace");
  if (existsSync(join(final, "usr/bin/strace"))) return { found: final };
  if (process.platform !== "linux" || !onPath("apt-get"))
    return { reason: "fetching it needs Linux with apt" };
  const partial = join(cache, `.strace.${process.pid}`);
  mkdirSync(partial, { recursive: true });
  try {
    const download = () => run("apt-get", ["download", "strace", "libunwind8"], { cwd: partial });
    let downloaded = await download();
    const prefix = rootPrefix();
    if (!downloaded.ok && prefix !== undefined) {
      await asRoot(prefix, "apt-get", ["update", "-q"]);
      downloaded = await download();
    }
    if (!downloaded.ok) return { reason: lastLine(downloaded.stderr) };
    for (const name of readdirSync(partial).filter((file) => file.endsWith(".deb"))) {
      const unpacked = await run("dpkg-deb", ["-x", join(partial, name), partial]);
      if (!unpacked.ok) return { reason: lastLine(unpacked.stderr) };
    }
    rmSync(final, { recursive: true, force: true });
    renameSync(partial, final);
    return { found: final };
  } catch (error) {
    return { reason: error.message };
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}
