/** The order of test files: those that take minutes first, so that no processor is idle while the last one runs. */
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The longest first. What is missing here, or gone, costs time and nothing else. */
const LONGEST: readonly string[] = [
  "property-management",
  "property-ours-writes",
  "repair",
  "io",
  "fuzz",
  "convert",
  "same-answers",
  "property-qemu-writes",
  "options-read",
  "options-change",
  "snapshot",
  "iotests",
  "create",
  "resize",
  "memory",
  "amend",
  "bitmap",
  "check-damaged",
  "commit",
  "kernel-faults",
].map((name) => `/conformance/test/${name}.test.ts`);

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const others = await super.sort(files);
    return others.sort((a, b) => rank(a) - rank(b));
  }
}

function rank({ moduleId }: TestSpecification): number {
  const index = LONGEST.findIndex((ending) => moduleId.endsWith(ending));
  return index === -1 ? LONGEST.length : index;
}
