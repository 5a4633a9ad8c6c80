/**
 * Files that somebody else writes: whatever a command reads or writes is locked as qemu-img locks it, raw images, raw
 * backing files and external data files too. Ours is stricter where it copies or writes, and never laxer.
 */
import { once } from "node:events";
import { execa } from "execa";
import { expect, it, vi } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { tryOursInProcess } from "../src/ours-in-process.ts";
import type { QemuRelease } from "../src/qemu-release.ts";
import { describeConformance } from "../src/requires.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "locks of others";

/** What is asked for while `raw` is held, or the image whose data file it is. */
const COMMANDS: readonly string[] = [
  "convert -f raw -O raw raw out",
  "convert -O qcow2 raw out",
  "convert -U -f raw -O raw raw out",
  "convert -O raw overlay out",
  "convert -O raw apart out",
  "convert -U -O raw overlay out",
  "convert -f raw -O raw other raw out",
  "compare -f raw -F raw raw other",
  "compare overlay apart",
  "measure -O qcow2 -f raw raw",
  "measure -O qcow2 overlay",
  "map -f raw raw",
  "map overlay",
  "map apart",
  "info -f raw raw",
  "info --backing-chain overlay",
  "check overlay",
  "check apart",
  "bench -c 1 -f raw raw",
  "bench -c 1 overlay",
  "create -f qcow2 -b raw -F raw new",
];

/** What qemu-img does and ours refuses: it would copy what changes meanwhile, or write beside another writer. */
const STRICTER: readonly string[] = [
  "dd -f raw if=raw of=out",
  "dd if=overlay of=out",
  "bench -w -c 1 -f raw raw",
  "commit overlay",
  "rebase -f qcow2 -F raw -b other overlay",
];

async function makeImages(qemu: QemuRelease, cwd: string): Promise<void> {
  await qemu.img(["create", "-q", "-f", "raw", "raw", "1M"], { cwd });
  await qemu.img(["create", "-q", "-f", "raw", "other", "1M"], { cwd });
  await qemu.img(["create", "-q", "-f", "qcow2", "-b", "raw", "-F", "raw", "overlay"], { cwd });
  const data = "data_file=raw,data_file_raw=on";
  await qemu.img(["create", "-q", "-f", "qcow2", "-o", data, "apart", "1M"], { cwd });
}

type Holder = "qemu-io" | "qemu-nbd";

async function whileHeld(
  qemu: QemuRelease,
  { cwd, holder }: { readonly cwd: string; readonly holder: Holder },
  work: () => Promise<void>,
): Promise<void> {
  const [file, ...fixed] = qemu.command(holder);
  const args =
    holder === "qemu-io" ? ["-f", "raw", "raw"] : ["-t", "-f", "raw", "-k", `${cwd}/socket`, "raw"];
  const running = execa(file, [...fixed, ...args], { cwd, reject: false, stdin: "pipe" });
  try {
    if (holder === "qemu-io") await once(running.stdout, "data");
    else
      await vi.waitFor(async () => expect((await execa("ls", { cwd })).stdout).toContain("socket"), 20_000);
    await work();
  } finally {
    if (holder === "qemu-io") running.stdin.end("quit\n");
    else running.kill();
    await running;
  }
}

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.each<Holder>(["qemu-io", "qemu-nbd"])("while %s writes to a raw file", async (holder) => {
    using bench = new Workbench("locks");
    const cwd = bench.folder;
    await makeImages(qemu, cwd);
    await whileHeld(qemu, { cwd, holder }, async () => {
      for (const command of [...COMMANDS, ...STRICTER]) {
        const words = command.split(" ");
        const actual = await tryOursInProcess(words, { cwd });
        const expected = STRICTER.includes(command)
          ? { exitCode: 1, stderr: expect.stringMatching(/Failed to get .*lock/) }
          : await qemu.tryImg(words, { cwd });
        expect(actual.exitCode, `${command}: ${actual.stderr}`).toBe(expected.exitCode);
        if (expected.exitCode !== 0) {
          expect(actual.stderr, command).toMatch(
            /Failed to get .*lock\nIs another process using the image \[raw\]\?/,
          );
        }
      }
    });
    caseRan(GROUP, qemu.version);
  });
});
