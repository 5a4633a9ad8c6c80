import { describe, expect, it } from "vitest";
import { CONTENT_KINDS, content } from "../src/content.ts";
import { firstDifference } from "../src/disk-model.ts";

describe("content", () => {
  it.each(CONTENT_KINDS)("of kind %s is the same for the same seed, and of any length", (kind) => {
    for (const length of [0, 1, 7, 511, 512, 70_001]) {
      const bytes = content({ kind, seed: 5, length, offset: 1024 });
      expect(bytes.length).toBe(length);
      expect(firstDifference(content({ kind, seed: 5, length, offset: 1024 }), bytes)).toBeUndefined();
    }
  });

  it("differs by seed", () => {
    for (const kind of CONTENT_KINDS.filter((kind) => kind !== "zeroes")) {
      const length = 100_000;
      const [one, two] = [content({ kind, seed: 1, length }), content({ kind, seed: 2, length })];
      expect(firstDifference(one, two)).toBeDefined();
    }
  });

  it("keeps its bytes from one release to the next, so that saved cases stay replayable", () => {
    expect([...content({ kind: "random", seed: 1, length: 6 })]).toMatchInlineSnapshot(`
      [
        160,
        135,
        234,
        243,
        201,
        235,
      ]
    `);
    expect([
      ...content({ kind: "mixed", seed: 9, length: 20_000 }).subarray(12_000, 12_006),
    ]).toMatchInlineSnapshot(`
      [
        71,
        83,
        100,
        36,
        187,
        159,
      ]
    `);
  });

  it("stamps every sector with its place", () => {
    const bytes = content({ kind: "stamps", seed: 3, length: 1024, offset: 2 ** 32 + 512 });
    const view = new DataView(bytes.buffer);
    expect([view.getUint32(0), view.getUint32(4)]).toEqual([1, 512]);
    expect([view.getUint32(512), view.getUint32(516)]).toEqual([1, 1024]);
  });
});
