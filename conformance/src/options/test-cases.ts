/** Registers the cases of commands as tests. */
import { mkdirSync } from "node:fs";
import { afterAll, beforeAll, describe, it } from "vitest";
import { caseRan } from "../case-log.ts";
import { describeConformance } from "../requires.ts";
import { Workbench } from "../workbench.ts";
import { makeCaseImages } from "./case-images.ts";
import { casesOf } from "./case-list.ts";
import { runCase } from "./run-case.ts";

const GROUP = "every option: same answer, same images left";

/** Each case of each of these commands, in turn. */
export async function testCasesOf(commands: readonly string[]): Promise<void> {
  await describeConformance(GROUP, {}, ({ reference: qemu }) => {
    const images = imagesFor((folder) => makeCaseImages(folder, qemu));
    describe.each(commands)("%s", (command) => {
      it.each(casesOf(command))("$words", async (drawn) => {
        await runCase(drawn, { qemu, images });
        caseRan(GROUP, qemu.version);
      });
    });
  });
}

/** A folder that is filled before the first test of the group, and removed after the last. */
export function imagesFor(make: (folder: string) => Promise<void>): string {
  const bench = new Workbench("images");
  const images = bench.path("images");
  beforeAll(async () => {
    mkdirSync(images);
    await make(images);
  });
  afterAll(() => bench[Symbol.dispose]());
  return images;
}
