/** Image shapes that both sides make with the same options, in the words of `qemu-img create -o`. */

export interface TwinShape {
  readonly name: string;
  /** Options without the name of the data file. */
  readonly options: readonly string[];
  readonly clusterSize: number;
  /** Bytes of the virtual disk. */
  readonly size: number;
  /** Bytes and format of the backing file; both sides share it. */
  readonly backing?: { readonly format: "raw" | "qcow2"; readonly size: number };
  readonly hasDataFile: boolean;
  /** An internal snapshot is taken half way. */
  readonly hasSnapshot: boolean;
}

const KIB = 1024;

function shape(
  name: string,
  clusterSize: number,
  options: readonly string[] = [],
  rest: Partial<Pick<TwinShape, "backing" | "hasSnapshot">> & { readonly clusters?: number } = {},
): TwinShape {
  const { clusters = 200.5, hasSnapshot = false, ...others } = rest;
  return {
    name,
    options: [`cluster_size=${clusterSize}`, ...options],
    clusterSize,
    size: Math.floor((clusters * clusterSize) / 512) * 512,
    hasDataFile: options.some((option) => option.startsWith("data_file")),
    hasSnapshot,
    ...others,
  };
}

/** Every cluster size and refcount width, version 2, subclusters, backing files, data files, snapshots. */
export const TWIN_SHAPES: readonly TwinShape[] = [
  shape("clusters of 512 bytes", 512, [], { clusters: 2000 }),
  shape("clusters of 1 KiB", KIB),
  shape("clusters of 4 KiB", 4 * KIB),
  shape("clusters of 16 KiB", 16 * KIB),
  shape("clusters of 64 KiB", 64 * KIB),
  shape("clusters of 256 KiB", 256 * KIB, [], { clusters: 40.5 }),
  shape("clusters of 2 MiB", 2048 * KIB, [], { clusters: 9.5 }),
  shape("version 2", 4 * KIB, ["compat=0.10"]),
  ...[1, 2, 4, 8, 32, 64].map((bits) => shape(`refcounts of ${bits} bits`, KIB, [`refcount_bits=${bits}`])),
  shape("subclusters", 64 * KIB, ["extended_l2=on"]),
  shape("subclusters of 512 bytes", 16 * KIB, ["extended_l2=on"]),
  shape("over a raw backing file", 4 * KIB, [], { backing: { format: "raw", size: 4 * KIB * 150 + 1536 } }),
  shape("over a qcow2 backing file", 64 * KIB, [], { backing: { format: "qcow2", size: 64 * KIB * 300 } }),
  shape("version 2 over a backing file", 4 * KIB, ["compat=0.10"], {
    backing: { format: "qcow2", size: 4 * KIB * 100 },
  }),
  shape("subclusters over a backing file", 16 * KIB, ["extended_l2=on"], {
    backing: { format: "raw", size: 16 * KIB * 100 + 512 },
  }),
  shape("shared with a snapshot", 4 * KIB, [], { hasSnapshot: true }),
  shape("shared with a snapshot, clusters of 512 bytes", 512, [], { clusters: 1500, hasSnapshot: true }),
  shape("subclusters shared with a snapshot", 16 * KIB, ["extended_l2=on"], { hasSnapshot: true }),
  shape("external data file", 4 * KIB, ["data_file_raw=off"]),
  shape("raw external data file", 4 * KIB, ["data_file_raw=on"]),
  shape("metadata preallocated", 4 * KIB, ["preallocation=metadata"]),
  shape("lazy refcounts", 4 * KIB, ["lazy_refcounts=on"]),
];
