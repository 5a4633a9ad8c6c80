/** io: random sessions, given to qemu-io and to ours, have the same output and leave the same images. */
import { Random } from "@qcow2/testing";
import { it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { drawSession } from "../src/io/drawn-commands.ts";
import { withoutTimes } from "../src/io/io-answers.ts";
import { tryOursAsQemuIo } from "../src/ours.ts";
import { describeConformance } from "../src/requires.ts";
import { expectEqualAnswers } from "../src/same-answer.ts";
import { expectSameImages, twinFolders } from "../src/twin-folders.ts";
import { makeBacking, makeImage } from "../src/twins/run-twins.ts";
import { TWIN_SHAPES } from "../src/twins/twin-shapes.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "io: random sessions beside qemu-io";
const SEED = 11;
const SESSIONS = 2;
const COMMANDS = 80;

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.concurrent.each(TWIN_SHAPES)("$name", async (shape) => {
    using bench = new Workbench("io-sequences");
    const folders = await twinFolders(bench, async (folder) => {
      await makeBacking({ shape, qemu, folder }, new Random(SEED));
      await makeImage({ shape, qemu, folder }, "image");
    });
    const random = new Random(SEED);
    for (let session = 0; session < SESSIONS; session++) {
      const commands = drawSession(shape, random, COMMANDS);
      // Requests in the background end in any order, so that they are waited for one by one.
      const lines = commands.flatMap((command) =>
        command.startsWith("aio_") ? [command, "aio_flush"] : [command],
      );
      const args = ["-f", "qcow2", "-t", "unsafe", ...lines.flatMap((line) => ["-c", line]), "image"];
      const [actual, expected] = await Promise.all([
        tryOursAsQemuIo(args, { cwd: folders.ours }),
        qemu.tryIo(args, { cwd: folders.theirs }),
      ]);
      const what = lines.join("; ");
      expectEqualAnswers({ actual: withoutTimes(actual), expected: withoutTimes(expected), what });
      if (!shape.hasSnapshot) continue;
      for (const cwd of [folders.ours, folders.theirs]) {
        await qemu.img(["snapshot", "-c", `after ${session}`, "image"], { cwd });
      }
    }
    // Over a backing file, and in parts of compressed clusters, zeroes that read as zeroes are written by QEMU as data.
    await expectSameImages(qemu, folders, {
      images: { image: "qcow2" },
      sameMaps: shape.backing === undefined,
      sameZeroes: !shape.name.startsWith("subclusters"),
    });
    caseRan(GROUP, qemu.version);
  });
});
