import { describe, expect, it } from "vitest";
import {
  FEATURE_TYPE_AUTOCLEAR,
  FEATURE_TYPE_COMPATIBLE,
  FEATURE_TYPE_INCOMPATIBLE,
  incompatibleFeatureNames,
  knownFeatureMask,
} from "../../src/format/feature-bits.ts";

describe("feature bits", () => {
  it("known to this library are those of the specification", () => {
    expect(knownFeatureMask(FEATURE_TYPE_INCOMPATIBLE)).toBe(0b11111n);
    expect(knownFeatureMask(FEATURE_TYPE_COMPATIBLE)).toBe(0b1n);
    expect(knownFeatureMask(FEATURE_TYPE_AUTOCLEAR)).toBe(0b11n);
  });

  it("are named by the image; those that it does not name are one mask", () => {
    const table = [
      { type: FEATURE_TYPE_INCOMPATIBLE, bit: 63, name: "quantum clusters" },
      { type: FEATURE_TYPE_COMPATIBLE, bit: 5, name: "another kind" },
    ];
    expect(incompatibleFeatureNames((1n << 63n) | (1n << 62n) | (1n << 5n), table)).toEqual([
      "quantum clusters",
      "Unknown incompatible feature: 4000000000000020",
    ]);
    expect(incompatibleFeatureNames(0n, table)).toEqual([]);
  });
});
