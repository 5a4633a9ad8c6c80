/** Groups of cases; one whose need is not met is skipped under a name that says why. */
import { describe, it } from "vitest";
import { caseLeftOut } from "./case-log.ts";
import { findQemuReleases, REFERENCE_MINOR } from "./qemu-release.ts";
import { type Judges, missingFor, type Requirement } from "./requirement.ts";

/**
 * `describe` for a group of conformance cases. `body` is called with the QEMU releases present, or not at all: then
 * the group appears as skipped, with the reason in its name, and in the list at the end of the run.
 */
export async function describeConformance(
  group: string,
  requirement: Requirement,
  body: (judges: Judges) => void,
): Promise<void> {
  const reason = await missingFor(requirement);
  if (reason !== undefined) {
    caseLeftOut(group, reason);
    describe.skip(group, () => it(`left out: ${reason}`, () => {}));
    return;
  }
  const all = await findQemuReleases();
  const reference = all.find(({ minor }) => minor === REFERENCE_MINOR) ?? all[0]!;
  describe(group, () => body({ reference, all }));
}
