export { buildFuzzImage, type FuzzFiles, rangeOf } from "./build-fuzz-image.ts";
export { type DrawOptions, drawCase } from "./draw-case.ts";
export type { FuzzCase, FuzzChange, FuzzShape, FuzzStep } from "./fuzz-case.ts";
export { count, type Figures, FuzzFind, type Oracle } from "./fuzz-find.ts";
export type { DiskLook } from "./look-phase.ts";
export { type MinimiseOptions, minimise } from "./minimise.ts";
export type { DiskView, ImageView } from "./observe.ts";
export { type FuzzJudge, FuzzRunner, type RunFuzzCaseOptions } from "./run-fuzz-case.ts";
