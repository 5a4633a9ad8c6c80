/** Sequences of management commands as plain JSON, and how they are drawn. */
import fc from "fast-check";

/** `which` is the index of a snapshot, modulo how many there are; without any, the step is left out. */
export type ManagementStep =
  | {
      readonly kind: "write" | "zero" | "discard";
      readonly at: number;
      readonly units: number;
      readonly fill: number;
    }
  | { readonly kind: "snapshot-create" }
  | { readonly kind: "snapshot-apply" | "snapshot-delete"; readonly which: number }
  | {
      readonly kind: "resize";
      /** The new size in units. */
      readonly units: number;
      readonly preallocation: "off" | "metadata" | "falloc" | "full";
    }
  | { readonly kind: "amend"; readonly option: string }
  | { readonly kind: "convert"; readonly options: string; readonly compressed: boolean }
  | { readonly kind: "bitmap"; readonly words: readonly string[]; readonly name: string }
  /** Without a backing file, both are left out. */
  | { readonly kind: "commit"; readonly keepsTop: boolean }
  | { readonly kind: "rebase"; readonly onto: "" | "base" | "other" };

export interface ManagementCase {
  /** Of the image, for `-o`. */
  readonly options: string;
  readonly clusterSize: number;
  /** Sizes and offsets count in these bytes: whole clusters. */
  readonly unit: number;
  /** The size of the disk, in units. */
  readonly units: number;
  /** The size of its backing file, in units; 0 for none. */
  readonly backingUnits: number;
  readonly steps: readonly ManagementStep[];
}

/** Units of the largest disk. */
const MAX_UNITS = 24;

/**
 * Sequences that qemu-img gets through: what it is known to refuse halfway, or to get wrong, is in the ledger and not
 * drawn (sizes within a cluster, version 2 overlays that grow, refcounts too narrow for snapshots).
 */
export function managementCaseArbitrary(): fc.Arbitrary<ManagementCase> {
  return fc
    .record({
      clusterBits: fc.constantFrom(9, 12, 14, 16, 16, 21),
      refcountBits: fc.constantFrom(8, 16, 16, 64),
      version: fc.constantFrom(2, 3, 3, 3),
      extendedL2: fc.boolean(),
      lazyRefcounts: fc.boolean(),
      units: fc.integer({ min: 1, max: MAX_UNITS }),
      backingUnits: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: MAX_UNITS })),
      steps: fc.array(stepArbitrary(), { minLength: 2, maxLength: 7, size: "max" }),
    })
    .map((drawn): ManagementCase => {
      const clusterSize = 2 ** drawn.clusterBits;
      const isVersion2 = drawn.version === 2;
      const options = isVersion2
        ? [`cluster_size=${clusterSize}`, "compat=0.10"]
        : [
            `cluster_size=${clusterSize}`,
            `refcount_bits=${drawn.refcountBits}`,
            `lazy_refcounts=${drawn.lazyRefcounts ? "on" : "off"}`,
            ...(drawn.extendedL2 && drawn.clusterBits >= 14 ? ["extended_l2=on"] : []),
          ];
      return {
        options: options.join(","),
        clusterSize,
        unit: Math.max(clusterSize, 65536),
        units: drawn.units,
        backingUnits: isVersion2 ? 0 : drawn.backingUnits,
        steps: drawn.steps,
      };
    });
}

function stepArbitrary(): fc.Arbitrary<ManagementStep> {
  const at = fc.nat(MAX_UNITS - 1);
  const which = fc.nat(7);
  const write = fc.record({
    kind: fc.constantFrom("write" as const, "write" as const, "zero" as const, "discard" as const),
    at,
    units: fc.integer({ min: 1, max: 6 }),
    fill: fc.integer({ min: 1, max: 255 }),
  });
  const preallocation = fc.constantFrom("off" as const, "off" as const, "metadata" as const);
  return fc.oneof<fc.Arbitrary<ManagementStep>[]>(
    write,
    write,
    fc.constant({ kind: "snapshot-create" as const }),
    fc.record({ kind: fc.constantFrom("snapshot-apply" as const, "snapshot-delete" as const), which }),
    fc.record({
      kind: fc.constant("resize" as const),
      units: fc.integer({ min: 1, max: MAX_UNITS }),
      preallocation,
    }),
    fc.record({
      kind: fc.constant("amend" as const),
      option: fc.constantFrom("compat=1.1", "lazy_refcounts=on", "lazy_refcounts=off", "refcount_bits=16"),
    }),
    fc.record({
      kind: fc.constant("bitmap" as const),
      words: fc.constantFrom(
        ["--add"],
        ["--add", "-g", "4k"],
        ["--add", "--disable"],
        ["--remove"],
        ["--clear"],
        ["--enable"],
        ["--disable"],
        ["--merge", "a"],
      ),
      name: fc.constantFrom("a", "a", "b"),
    }),
    fc.record({ kind: fc.constant("commit" as const), keepsTop: fc.boolean() }),
    fc.record({
      kind: fc.constant("rebase" as const),
      onto: fc.constantFrom("" as const, "base" as const, "other" as const),
    }),
    fc.record({
      kind: fc.constant("convert" as const),
      options: fc.constantFrom("cluster_size=64k", "cluster_size=4k,refcount_bits=32", "compat=0.10"),
      compressed: fc.boolean(),
    }),
  );
}
