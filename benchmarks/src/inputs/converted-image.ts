/** Images that the judging tool makes of a raw input: plain and compressed. */
import type { InputKind, InputName } from "./input-kind.ts";

export const DISK_QCOW2: InputKind = converted({ name: "disk-qcow2", from: "disk", how: "", options: [] });

export const DISK_DEFLATE: InputKind = converted({
  name: "disk-deflate",
  from: "disk",
  how: ", compressed with deflate",
  options: ["-c"],
});

/** As a tool stores clusters that compresses on many threads and writes what is ready first. */
export const DISK_UNORDERED: InputKind = converted({
  name: "disk-unordered",
  from: "disk",
  how: ", compressed with deflate, its clusters stored as they were ready (-m 8 -W)",
  options: ["-c", "-m", "8", "-W"],
});

export const DISK_ZSTD: InputKind = converted({
  name: "disk-zstd",
  from: "disk",
  how: ", compressed with zstd",
  options: ["-c", "-o", "compression_type=zstd"],
});

export const EMPTY_QCOW2: InputKind = converted({
  name: "empty-qcow2",
  from: "empty",
  how: "",
  options: [],
});

export const FULL_QCOW2: InputKind = converted({ name: "full-qcow2", from: "full", how: "", options: [] });

function converted(options: {
  readonly name: InputName;
  readonly from: "disk" | "empty" | "full";
  readonly how: string;
  readonly options: readonly string[];
}): InputKind {
  const { name, from } = options;
  return {
    name,
    title: () =>
      `the ${{ disk: "operating system's", empty: "empty", full: "full" }[from]} disk as qcow2${options.how}`,
    file: `${name}.qcow2`,
    format: "qcow2",
    content: from,
    isConversion: true,
    isCompressed: options.options.includes("-c"),
    needs: [],
    bytes: ({ diskData, full }) => ({ disk: diskData, empty: 0, full })[from],
    make: ({ path, paths, img }) =>
      img(["convert", ...options.options, "-f", "raw", "-O", "qcow2", paths[from], path]),
  };
}
