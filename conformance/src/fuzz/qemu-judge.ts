/** QEMU's opinion of broken images: what it reads, and whether what was repaired is sound. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import {
  count,
  type Figures,
  type FuzzFiles,
  FuzzFind,
  type FuzzJudge,
  type ImageView,
} from "@qcow2/testing/fuzz";
import { qemuCheckCounts } from "../qemu-check.ts";
import type { QemuRelease } from "../qemu-release.ts";
import type { ToolResult } from "../run-tool.ts";
import type { Workbench } from "../workbench.ts";

/** Larger disks are left out: reading all of one takes a file of that size. */
const MOST_BYTES: number = 8 * 2 ** 20;
const TIMEOUT_MS = 60_000;
const SECTOR = 512;

export class QemuJudge implements FuzzJudge {
  readonly #qemu: QemuRelease;
  readonly #bench: Workbench;
  readonly #figures: Figures;

  constructor(options: { readonly qemu: QemuRelease; readonly bench: Workbench; readonly figures: Figures }) {
    this.#qemu = options.qemu;
    this.#bench = options.bench;
    this.#figures = options.figures;
  }

  async expectSound(files: FuzzFiles): Promise<void> {
    const { exitCode, stdout, stderr } = await this.#run(files, [
      "check",
      "-f",
      "qcow2",
      "--output=json",
      "image",
    ]);
    // A name that the break changed is of no file here.
    if (/No such file|backing file|data file|data-file/i.test(stderr)) return;
    count(this.#figures, "QEMU: repaired images checked");
    if (exitCode === 0) return;
    const found = stdout.startsWith("{") ? JSON.stringify(qemuCheckCounts(stdout)) : stderr.trim();
    throw new FuzzFind("repair-clean", "repair of all", `qemu-img check ends with ${exitCode}: ${found}`);
  }

  async expectSame(files: FuzzFiles, { active }: ImageView): Promise<void> {
    if (active.size > MOST_BYTES || active.clusters.size === 0) return;
    const raw = this.#bench.path("raw");
    rmSync(raw, { force: true });
    const { exitCode } = await this.#run(files, ["convert", "-f", "qcow2", "-O", "raw", "image", "raw"]);
    if (exitCode !== 0) {
      count(this.#figures, "QEMU: images refused");
      return;
    }
    const theirs = readFileSync(raw);
    // Of a disk that does not end with a sector, QEMU copies what is before its last one, or all of it (see LEDGER.md).
    const isPartial =
      active.size % SECTOR !== 0 && theirs.length === Math.floor(active.size / SECTOR) * SECTOR;
    if (!isPartial && theirs.length !== Math.ceil(active.size / SECTOR) * SECTOR) {
      throw new FuzzFind(
        "same-as-qemu",
        "read",
        `the disk has ${active.size} bytes, QEMU's ${theirs.length}`,
      );
    }
    for (const [offset, ours] of active.clusters) {
      const copied = theirs.subarray(offset, offset + ours.length);
      if (Buffer.compare(isPartial ? ours.subarray(0, copied.length) : ours, copied) !== 0) {
        throw new FuzzFind("same-as-qemu", "read", `guest offset ${offset} reads differently in QEMU`);
      }
    }
    count(this.#figures, "QEMU: images read the same");
  }

  async #run({ image, data, backing }: FuzzFiles, args: readonly string[]): Promise<ToolResult> {
    writeFileSync(this.#bench.path("image"), image);
    if (data !== undefined) writeFileSync(this.#bench.path("data"), data);
    if (backing !== undefined) writeFileSync(this.#bench.path("backing"), backing.bytes);
    try {
      return await this.#qemu.tryImg(args, { cwd: this.#bench.folder, timeoutMs: TIMEOUT_MS });
    } catch (error) {
      // It does not end: that is its own fault, and no answer.
      count(this.#figures, "QEMU: no answer");
      return { exitCode: 255, stdout: "", stderr: `No such file: ${(error as Error).message}` };
    } finally {
      for (const name of ["image", "data", "backing"]) rmSync(this.#bench.path(name), { force: true });
    }
  }
}
