/** Kinds of metadata that writes are held against, in QEMU's names ("overlap-check"). */
import { refuseOption } from "../errors.ts";

export const METADATA_CLASSES = [
  "main-header",
  "active-l1",
  "active-l2",
  "refcount-table",
  "refcount-block",
  "snapshot-table",
  "inactive-l1",
  "inactive-l2",
  "bitmap-directory",
] as const;

/** One kind of metadata; "inactive" tables are those of internal snapshots. */
export type MetadataClass = (typeof METADATA_CLASSES)[number];

/**
 * "constant": what lies where it lay when the image was opened; "cached" (default): that, and everything else that can
 * be looked up in memory; "all": the L2 tables of snapshots as well, which have to be read when writing begins.
 */
export type OverlapTemplate = "none" | "constant" | "cached" | "all";

/** Which kinds are checked: a template, and exceptions from it. */
export type OverlapCheck =
  | OverlapTemplate
  | ({ readonly template?: OverlapTemplate | undefined } & {
      readonly [Kind in MetadataClass]?: boolean | undefined;
    });

const CONSTANT: readonly MetadataClass[] = [
  "main-header",
  "active-l1",
  "refcount-table",
  "snapshot-table",
  "bitmap-directory",
];
const CACHED: readonly MetadataClass[] = [...CONSTANT, "active-l2", "refcount-block", "inactive-l1"];

const TEMPLATES: Readonly<Record<OverlapTemplate, readonly MetadataClass[]>> = {
  none: [],
  constant: CONSTANT,
  cached: CACHED,
  all: METADATA_CLASSES,
};

/**
 * The classes that an option asks for.
 * @throws Qcow2Error "invalid-option" for a name that is none
 */
export function overlapClasses(check: OverlapCheck = "cached"): ReadonlySet<MetadataClass> {
  const { template = "cached", ...exceptions } = typeof check === "string" ? { template: check } : check;
  const classes = new Set(Object.hasOwn(TEMPLATES, template) ? TEMPLATES[template] : unknownName(template));
  for (const [name, isChecked] of Object.entries(exceptions)) {
    const metadataClass = METADATA_CLASSES.find((known) => known === name) ?? unknownName(name);
    if (isChecked === true) classes.add(metadataClass);
    else if (isChecked === false) classes.delete(metadataClass);
  }
  return classes;
}

function unknownName(name: string): never {
  refuseOption("overlapCheck", `'${name}' is no kind of overlap check`);
}
