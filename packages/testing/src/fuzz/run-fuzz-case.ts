/** One case: its valid image, broken, and everything that is done to it. */
import type { Codecs } from "@qcow2/core";
import { type Anatomy, anatomyOf } from "./anatomy.ts";
import { applyBreaks } from "./apply-breaks.ts";
import { buildFuzzImage, type FuzzFiles } from "./build-fuzz-image.ts";
import { change } from "./change-phase.ts";
import type { Break, FuzzCase, FuzzShape } from "./fuzz-case.ts";
import { count, type Figures } from "./fuzz-find.ts";
import { type DiskLook, lookAt } from "./look-phase.ts";
import type { ImageView } from "./observe.ts";
import { repair } from "./repair-phase.ts";

/** Somebody else's opinion of an image, as QEMU's. */
export interface FuzzJudge {
  /** @throws FuzzFind if what our repair calls sound is not */
  expectSound(files: FuzzFiles): Promise<void>;
  /** @throws FuzzFind if it reads something else than we do */
  expectSame(files: FuzzFiles, ours: ImageView): Promise<void>;
}

export interface RunFuzzCaseOptions {
  readonly codecs: Codecs;
  readonly figures: Figures;
  readonly looks?: readonly DiskLook[] | undefined;
  readonly judge?: FuzzJudge | undefined;
  /** Makes the shapes that say so. Default: they are made by the engine, as the others. */
  readonly buildByQemu?: ((shape: FuzzShape) => Promise<FuzzFiles>) | undefined;
}

interface Built {
  readonly key: string;
  readonly files: FuzzFiles;
  readonly anatomy: Anatomy;
}

/** Runs cases, and keeps the valid image of the last: the next one is often made of it, too. */
export class FuzzRunner {
  readonly #options: RunFuzzCaseOptions;
  #last: Built | undefined;

  constructor(options: RunFuzzCaseOptions) {
    this.#options = options;
  }

  /** With `isJudged`, the judge is asked, who takes longer than all the rest. @throws FuzzFind */
  async run(drawn: FuzzCase, { isJudged = false }: { readonly isJudged?: boolean } = {}): Promise<void> {
    const { codecs, figures, looks = [] } = this.#options;
    const judge = isJudged ? this.#options.judge : undefined;
    const { files, anatomy } = await this.#build(drawn.shape);
    const broken: FuzzFiles = { ...files, image: applyBreaks(files.image, anatomy, drawn.breaks) };
    count(figures, "images");
    const context = { codecs, figures, open: drawn.open };
    const before = await lookAt(broken, context, looks);
    if (before !== undefined) await judge?.expectSame(broken, before);
    if (drawn.changes.length > 0) {
      await change({
        broken,
        context,
        changes: drawn.changes,
        before,
        mayAlias: drawn.breaks.some(mayAlias),
      });
    }
    await repair(broken, context, { what: "leaks", before });
    const sound = await repair(broken, context, { what: "all", before });
    if (sound !== undefined) await judge?.expectSound(sound);
  }

  async #build(shape: FuzzShape): Promise<Built> {
    const key = JSON.stringify(shape);
    if (this.#last?.key === key) return this.#last;
    const { codecs, buildByQemu } = this.#options;
    const files =
      shape.byQemu && buildByQemu ? await buildByQemu(shape) : await buildFuzzImage(shape, codecs);
    this.#last = { key, files, anatomy: anatomyOf(files.image) };
    return this.#last;
  }
}

/** True for breaks after which two references may lead to one place, or read of each other's. */
function mayAlias({ where, change }: Break): boolean {
  switch (where.kind) {
    case "refcount":
    case "refcount-block":
    case "refcount-table":
    case "bitmap-data":
      return false;
    // A stream that is broken may run on into the bytes behind it, and those are of others.
    case "compressed-data":
      return true;
    case "snapshot":
      return ["l1Offset", "l1Size", "idSize", "nameSize", "extraSize"].includes(where.field);
    case "header":
      return !["incompatibleFeatures", "compatibleFeatures", "autoclearFeatures"].includes(where.field);
    case "end":
      return false;
    default:
      return change.kind !== undefined;
  }
}
