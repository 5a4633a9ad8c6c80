/** Refcounts are claims: whatever one of them says wrongly, no change of the image loses what something refers to. */
import { CHANGES_OF_DAMAGED, checkDamagedChange, imageToDamage, refcountDamages } from "@qcow2/testing";
import { expect, it } from "vitest";

it.each(CHANGES_OF_DAMAGED)(
  "$name loses nothing on any wrong refcount",
  { timeout: 120_000 },
  async (change) => {
    const image = await imageToDamage();
    const outcomes = { done: 0, refused: 0 };
    const losses: string[] = [];
    for (const damage of await refcountDamages()) {
      try {
        outcomes[await checkDamagedChange(image, damage, change)]++;
      } catch (error) {
        losses.push(`${damage.name}: ${String(error)}`);
      }
    }
    expect(losses).toEqual([]);
    expect(outcomes.done + outcomes.refused).toBeGreaterThan(40);
    // A sound image takes the change.
    const nothing = { name: "nothing", apply: async () => undefined };
    expect(await checkDamagedChange(image, nothing, change)).toBe("done");
  },
);
