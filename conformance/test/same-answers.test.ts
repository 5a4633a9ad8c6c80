/** info, map, check, measure and reading: on every shape of image that QEMU makes, the same answer as qemu-img 10.0. */
import { statSync } from "node:fs";
import { it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { ours } from "../src/ours.ts";
import { describeConformance } from "../src/requires.ts";
import { expectSameAnswer } from "../src/same-answer.ts";
import { expectSameFiles } from "../src/same-files.ts";
import { IMAGE, SHAPES, type Shape } from "../src/shapes.ts";
import { Workbench } from "../src/workbench.ts";

const INFO = "info: JSON and text equal QEMU's";
const MAP = "map: JSON and text equal QEMU's";
const CHECK = "check: JSON and text equal QEMU's";
const MEASURE = "measure: JSON and text equal QEMU's";
const READ = "convert to raw: bytes equal QEMU's";

function answersFor(shape: Shape): { readonly group: string; readonly args: readonly string[] }[] {
  const json = "--output=json";
  const format = ["-f", shape.format];
  const options = "cluster_size=4k,refcount_bits=1";
  return [
    { group: INFO, args: ["info", "--backing-chain", json, IMAGE] },
    { group: INFO, args: ["info", ...format, IMAGE] },
    { group: MAP, args: ["map", ...format, json, IMAGE] },
    { group: MAP, args: ["map", ...format, IMAGE] },
    { group: CHECK, args: ["check", ...format, json, IMAGE] },
    { group: CHECK, args: ["check", ...format, IMAGE] },
    { group: MEASURE, args: ["measure", ...format, "-O", "qcow2", json, IMAGE] },
    { group: MEASURE, args: ["measure", ...format, "-O", "qcow2", "-o", options, IMAGE] },
  ];
}

await describeConformance("the same answers as qemu-img", {}, ({ reference: qemu }) => {
  it.each(SHAPES)("$name", async (shape) => {
    using bench = new Workbench("answers");
    const { folder } = bench;
    await shape.make({ folder, qemu });
    await Promise.all(
      answersFor(shape).map(async ({ group, args }) => {
        await expectSameAnswer({ args, folder, qemu });
        caseRan(group, qemu.version);
      }),
    );
    const convert = ["convert", "-f", shape.format, "-O", "raw", IMAGE];
    await Promise.all([
      ours([...convert, "ours.raw"], { cwd: folder }),
      qemu.img([...convert, "theirs.raw"], { cwd: folder }),
    ]);
    if (statSync(bench.path("theirs.raw")).size < 2 ** 30) {
      expectSameFiles(bench.path("ours.raw"), bench.path("theirs.raw"));
    } else {
      // Reading a terabyte of holes takes minutes; QEMU skips them.
      await qemu.img(["compare", "-s", "-f", "raw", "-F", "raw", "ours.raw", "theirs.raw"], { cwd: folder });
    }
    caseRan(READ, qemu.version);
  });
});
