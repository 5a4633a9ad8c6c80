/**
 * Damaged images: `check` finds what `qemu-img check` finds, with the same counts. Images of every shape are damaged
 * by seed in their metadata only; QCOW2_CONFORMANCE_DAMAGE says how often each (default 6), for as long as one likes.
 */
import assert from "node:assert/strict";
import { type CheckResult, checkStorage, isQcow2Error } from "@qcow2/core";
import { FileStorage } from "@qcow2/node";
import { it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { drawDamage, metadataRegions, whileDamaged } from "../src/metadata-damage.ts";
import { ourCheckCounts, qemuCheckCounts } from "../src/qemu-check.ts";
import { describeConformance } from "../src/requires.ts";
import { IMAGE, SHAPES } from "../src/shapes.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "check of damaged images";
const SEED = Number(process.env.QCOW2_CONFORMANCE_SEED ?? 1);
const DAMAGES_PER_SHAPE = Number(process.env.QCOW2_CONFORMANCE_DAMAGE ?? 6);

interface OurAnswer {
  readonly result: CheckResult;
  /** Corruptions that QEMU does not look for: metadata that overlaps although every refcount is right. */
  readonly overlaps: number;
}

/** Our check; undefined if it refuses the image with a proper error. */
async function ourCheck(image: string): Promise<OurAnswer | undefined> {
  await using storage = await openForCheck(image);
  let overlaps = 0;
  try {
    const result = await checkStorage(storage.file, {
      onFinding: ({ code }) => {
        if (code === "overlap") overlaps++;
      },
    });
    return { result, overlaps };
  } catch (error) {
    if (isQcow2Error(error)) return undefined;
    throw error;
  }
}

async function openForCheck(image: string): Promise<AsyncDisposable & { readonly file: FileStorage }> {
  const file = await FileStorage.open(image, { readOnly: true, forceShare: true });
  return { file, [Symbol.asyncDispose]: () => file.close() };
}

await describeConformance(GROUP, {}, ({ reference }) => {
  for (const shape of SHAPES.filter(({ format }) => format === "qcow2")) {
    it(`${shape.name}: ${DAMAGES_PER_SHAPE} damages from seed ${SEED}`, { timeout: 0 }, async () => {
      using bench = new Workbench("damaged");
      await shape.make({ folder: bench.folder, qemu: reference });
      const image = bench.path(IMAGE);
      const regions = metadataRegions(image);
      let compared = 0;
      for (let index = 0; index < DAMAGES_PER_SHAPE; index++) {
        const seed = SEED * 1_000_003 + index;
        const edits = drawDamage(image, regions, seed);
        await whileDamaged(image, edits, async () => {
          const args = ["check", "-f", "qcow2", "--output=json", IMAGE];
          const [theirs, ours] = await Promise.all([
            reference.tryImg(args, { cwd: bench.folder }),
            ourCheck(image),
          ]);
          // Without JSON, QEMU could not open the image or gave up; ours then answers as well as it can.
          if (!theirs.stdout.startsWith("{")) return;
          const details = `seed ${seed}: ${JSON.stringify(edits)}\n${theirs.stderr}`;
          assert.ok(ours !== undefined, `refused, but QEMU checks it; ${details}`);
          const counts = ourCheckCounts(ours.result);
          assert.deepEqual(
            { ...counts, corruptions: counts.corruptions - ours.overlaps },
            qemuCheckCounts(theirs.stdout),
            `counts differ from QEMU's; ${details}`,
          );
          compared++;
        });
      }
      caseRan(GROUP, reference.version, compared);
    });
  }
});
