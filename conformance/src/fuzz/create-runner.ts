import { type Figures, FuzzRunner } from "@qcow2/testing/fuzz";
import { findQemuReleases, REFERENCE_MINOR } from "../qemu-release.ts";
import type { Workbench } from "../workbench.ts";
import { buildByQemu } from "./build-by-qemu.ts";
import { DISK_LOOKS } from "./disk-looks.ts";
import { FUZZ_CODECS } from "./fuzz-codecs.ts";
import { QemuJudge } from "./qemu-judge.ts";

/** What runs cases, with QEMU at its side where there is one. */
export async function createRunner(figures: Figures, bench: Workbench): Promise<FuzzRunner> {
  const releases = await findQemuReleases();
  const qemu = releases.find(({ minor }) => minor === REFERENCE_MINOR) ?? releases[0];
  return new FuzzRunner({
    codecs: FUZZ_CODECS,
    figures,
    looks: DISK_LOOKS,
    ...(qemu && {
      judge: new QemuJudge({ qemu, bench, figures }),
      buildByQemu: (shape) => buildByQemu(shape, { qemu, bench }),
    }),
  });
}
