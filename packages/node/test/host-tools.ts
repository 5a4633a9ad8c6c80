/** What this machine has for tests against the real thing, and why not where it has not. */
import fs from "node:fs/promises";
import { execa } from "execa";

/** Undefined if `command` runs, else the reason to skip. */
export async function whyNot(command: string, args: readonly string[]): Promise<string | undefined> {
  const { exitCode, shortMessage } = await execa(command, [...args], { reject: false, timeout: 10_000 });
  if (exitCode === 0) return undefined;
  return exitCode === undefined
    ? `${command} is not installed`
    : `${command} does not work here: ${shortMessage}`;
}

/** Runs `work` on a small tmpfs; answers with the reason if there can be none. */
export async function withSmallFileSystem(
  mountPoint: string,
  bytes: number,
  work: () => Promise<void>,
): Promise<string | undefined> {
  await fs.mkdir(mountPoint);
  const args = ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", mountPoint];
  const mounted = await execa("mount", args, { reject: false });
  if (mounted.exitCode !== 0) return "mounting a tmpfs is not permitted here";
  try {
    await work();
  } finally {
    await execa("umount", [mountPoint]);
  }
  return undefined;
}

/** Runs `work` on a loop device over `file`; answers with the reason if there can be none. */
export async function withLoopDevice(
  file: string,
  work: (device: string) => Promise<void>,
): Promise<string | undefined> {
  const attached = await execa("losetup", ["--find", "--show", file], { reject: false });
  if (attached.exitCode !== 0) return "attaching a loop device is not permitted here";
  const device = attached.stdout.trim();
  try {
    await work(device);
  } finally {
    await execa("losetup", ["--detach", device]);
  }
  return undefined;
}

/** Runs `work` while one file is mounted over another; answers with the reason if it cannot be. */
export async function withBindMount(
  { from, to }: { readonly from: string; readonly to: string },
  work: () => Promise<void>,
): Promise<string | undefined> {
  const mounted = await execa("mount", ["--bind", from, to], { reject: false });
  if (mounted.exitCode !== 0) return "mounting a file is not permitted here";
  try {
    await work();
  } finally {
    await execa("umount", [to]);
  }
  return undefined;
}
