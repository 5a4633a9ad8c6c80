/**
 * JSON as qemu-img prints it: four spaces, one member a line, empty lists and objects over two lines, everything
 * outside printable ASCII escaped, and the members of an object in the order of QEMU's hash table.
 */

export type JsonValue =
  | string
  | number
  | bigint
  | boolean
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue | undefined };

/**
 * QEMU prints the members of every object in the order of its hash of their names, so one list orders them all.
 * Only the names that this command prints are here.
 */
const MEMBER_ORDER: readonly string[] = [
  "compat",
  "icount",
  "flags",
  "vm-clock-nsec",
  "image-end-offset",
  "name",
  "compressed-clusters",
  "compression-type",
  "lazy-refcounts",
  "date-sec",
  "bitmaps",
  "refcount-bits",
  "total-clusters",
  "extent-size-hint",
  "corruptions",
  "data-file",
  "corruptions-fixed",
  "check-errors",
  "children",
  "backing-filename-format",
  "date-nsec",
  "granularity",
  "required",
  "leaks",
  "snapshots",
  "leaks-fixed",
  "allocated-clusters",
  "virtual-size",
  "filename",
  "cluster-size",
  "fully-allocated",
  "format",
  "encrypt",
  "actual-size",
  "data-file-raw",
  "format-specific",
  "full-backing-filename",
  "vm-clock-sec",
  "encrypted",
  "type",
  "backing-filename",
  "corrupt",
  "fragmented-clusters",
  "id",
  "vm-state-size",
  "info",
  "dirty-flag",
  "extended-l2",
  "data",
];

const RANK: ReadonlyMap<string, number> = new Map(MEMBER_ORDER.map((name, index) => [name, index]));

/** The members that are present, in the order in which QEMU prints them. */
export function orderedMembers(value: {
  readonly [name: string]: JsonValue | undefined;
}): [string, JsonValue][] {
  const members = Object.entries(value).filter(
    (member): member is [string, JsonValue] => member[1] !== undefined,
  );
  return members.sort(([a], [b]) => rankOf(a) - rankOf(b));
}

/** The value as text, without a newline at the end. */
export function formatQemuJson(value: JsonValue, depth = 0): string {
  if (typeof value === "string") return quote(value);
  if (typeof value !== "object") return String(value);
  const inner = `\n${"    ".repeat(depth + 1)}`;
  const parts = isList(value)
    ? value.map((item) => formatQemuJson(item, depth + 1))
    : orderedMembers(value).map(([name, member]) => `${quote(name)}: ${formatQemuJson(member, depth + 1)}`);
  const [open, close] = isList(value) ? "[]" : "{}";
  const body = parts.map((part) => inner + part).join(",");
  return `${open}${body}\n${"    ".repeat(depth)}${close}`;
}

export function isList(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}

function rankOf(name: string): number {
  const rank = RANK.get(name);
  if (rank === undefined) throw new Error(`no place is known for the JSON member "${name}"`);
  return rank;
}

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/**
 * Bytes that are no UTF-8, which are lone surrogates here: QEMU prints U+FFFD once for a byte that promises more, with those
 * that follow as promised, and for each other one.
 */
const NO_UTF8 =
  /[\u{DCC0}-\u{DCDF}][\u{DC80}-\u{DCBF}]?|[\u{DCE0}-\u{DCEF}][\u{DC80}-\u{DCBF}]{0,2}|[\u{DCF0}-\u{DCF7}][\u{DC80}-\u{DCBF}]{0,3}|[\u{DCF8}-\u{DCFB}][\u{DC80}-\u{DCBF}]{0,4}|[\u{DCFC}-\u{DCFD}][\u{DC80}-\u{DCBF}]{0,5}|[\u{DC80}-\u{DCFF}]/gu;

function quote(value: string): string {
  const text = value.replace(NO_UTF8, "\uFFFD");
  // UTF-16 code units are what the escapes are made of: characters beyond the basic plane become two.
  const escaped = text.replace(/["\\]|[^\x20-\x7e]/g, (unit) => {
    return SHORT_ESCAPES[unit] ?? `\\u${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  });
  return `"${escaped}"`;
}
