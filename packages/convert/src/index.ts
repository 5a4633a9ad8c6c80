export { type BytePrimitives, portablePrimitives } from "./byte-primitives.ts";
export { type CommitOptions, commitDisk } from "./commit-disk.ts";
export { type CompareOptions, type CompareResult, compareDisks } from "./compare-disks.ts";
export { convertDisk } from "./convert-disk.ts";
export type { ConvertOptions, ConvertResult, TargetBacking } from "./convert-options.ts";
export type { LuksCipher } from "./luks-header.ts";
export { type Measurement, type MeasureOptions, measureImage } from "./measure-image.ts";
export { type RebaseOptions, type RebaseResult, rebaseDisk } from "./rebase-disk.ts";
export type { UnreadableRange } from "./salvage.ts";
