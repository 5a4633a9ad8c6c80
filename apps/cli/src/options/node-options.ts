/** Which options each of QEMU's nodes takes, and which values those take. */
import { CommandError } from "../errors/command-errors.ts";
import { parseSwitch } from "./enumerations.ts";
import type { NodeScalar, NodeTree } from "./node-tree.ts";
import { requireParameterSize } from "./size.ts";

/** Throws for a value that the option does not take. */
type Check = (name: string, text: string) => void;

const anything: Check = () => {};
const aSwitch: Check = (name, text) => {
  parseSwitch(name, text);
};
const aSize: Check = (name, text) => {
  requireParameterSize(name, text);
};
const aNumber: Check = (name, text) => {
  if (!/^\d+$/.test(text)) throw new CommandError(`Parameter '${name}' expects a number`);
};
const oneOf =
  (values: readonly string[], message: (name: string, text: string) => string): Check =>
  (name, text) => {
    if (!values.includes(text)) throw new CommandError(message(name, text));
  };
const enumeration = (...values: readonly string[]): Check =>
  oneOf(values, (_name, text) => `invalid parameter value: ${text}`);
const template: Check = oneOf(
  ["none", "constant", "cached", "all"],
  (name, text) =>
    `Unsupported value '${text}' for qcow2 option '${name}'. Allowed are any of the following: none, constant, cached, all`,
);

const COMMON: Readonly<Record<string, Check>> = {
  driver: anything,
  "node-name": anything,
  "read-only": aSwitch,
  "auto-read-only": aSwitch,
  "force-share": aSwitch,
  "cache.direct": aSwitch,
  "cache.no-flush": aSwitch,
  discard: oneOf(["ignore", "off", "unmap", "on"], () => "Invalid discard option"),
  "detect-zeroes": enumeration("off", "on", "unmap"),
};

const QCOW2: Readonly<Record<string, Check>> = {
  "lazy-refcounts": aSwitch,
  "pass-discard-request": aSwitch,
  "pass-discard-snapshot": aSwitch,
  "pass-discard-other": aSwitch,
  "discard-no-unref": aSwitch,
  "overlap-check": template,
  "overlap-check.template": template,
  "overlap-check.main-header": aSwitch,
  "overlap-check.active-l1": aSwitch,
  "overlap-check.active-l2": aSwitch,
  "overlap-check.refcount-table": aSwitch,
  "overlap-check.refcount-block": aSwitch,
  "overlap-check.snapshot-table": aSwitch,
  "overlap-check.inactive-l1": aSwitch,
  "overlap-check.inactive-l2": aSwitch,
  "overlap-check.bitmap-directory": aSwitch,
  "cache-size": aSize,
  "l2-cache-size": aSize,
  "l2-cache-entry-size": aSize,
  "refcount-cache-size": aSize,
  "cache-clean-interval": aNumber,
  "encrypt.format": anything,
  "encrypt.key-secret": anything,
};

const RAW: Readonly<Record<string, Check>> = { offset: aSize, size: aSize };

const FILE: Readonly<Record<string, Check>> = {
  filename: anything,
  locking: enumeration("on", "off", "auto"),
  aio: enumeration("threads", "native", "io_uring"),
  "aio-max-batch": aNumber,
  "pr-manager": anything,
  "drop-cache": aSwitch,
  "x-check-cache-dropped": aSwitch,
};

export const FILE_DRIVERS: readonly string[] = ["file", "host_device"];

/** Drivers of QEMU that nothing here stands in for. */
const OTHER_DRIVERS: ReadonlySet<string> = new Set(
  (
    "blkdebug blklogwrites blkreplay blkverify bochs cloop compress copy-before-write copy-on-read dmg ftp ftps " +
    "gluster host_cdrom http https io_uring iscsi iser luks nbd nfs null-aio null-co nvme nvme-io_uring parallels " +
    "preallocate qcow qed quorum rbd replication snapshot-access ssh throttle vdi vhdx virtio-blk-vfio-pci " +
    "virtio-blk-vhost-user virtio-blk-vhost-vdpa vmdk vpc vvfat"
  ).split(" "),
);

/** @throws CommandError in qemu-img's words for an unknown driver */
export function assertDriver(driver: string): void {
  if (["qcow2", "raw", ...FILE_DRIVERS].includes(driver)) return;
  if (!OTHER_DRIVERS.has(driver)) throw new CommandError(`Unknown driver '${driver}'`);
  throw new CommandError(
    `Driver '${driver}' is not supported here (use qcow2 or raw, with file.filename=PATH)`,
  );
}

/**
 * Checks the options of one node, not of those below it; `driver` is undefined if the content is to tell.
 * @throws CommandError in qemu-img's words
 */
export function checkNodeOptions({ options }: NodeTree, driver: string | undefined): void {
  for (const [name, value] of options) {
    const check = checkOf(name, driver);
    if (check === undefined) throw new CommandError(unknownOption(name, driver));
    check(name, textOf(value));
  }
  if (options.get("detect-zeroes") === "unmap" && !unmaps(options.get("discard"))) {
    throw new CommandError(
      "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap",
    );
  }
}

function unmaps(discard: NodeScalar | undefined): boolean {
  return discard === "unmap" || discard === "on";
}

function checkOf(name: string, driver: string | undefined): Check | undefined {
  if (Object.hasOwn(COMMON, name)) return COMMON[name];
  if (driver === "raw") return RAW[name];
  if (driver === undefined || driver === "qcow2") return QCOW2[name];
  return FILE[name];
}

function unknownOption(name: string, driver: string | undefined): string {
  if (driver === undefined)
    return `The option '${name}' needs driver=qcow2 or driver=raw, if there is such an option`;
  return FILE_DRIVERS.includes(driver)
    ? `Block protocol '${driver}' doesn't support the option '${name}'`
    : `Block format '${driver}' does not support the option '${name}'`;
}

export function textOf(value: NodeScalar): string {
  if (typeof value === "boolean") return value ? "on" : "off";
  return String(value);
}

/** Options that say which bytes are read, or who else may use them; all others change speed and bookkeeping at most. */
const WITH_EFFECT: ReadonlySet<string> = new Set(
  "driver read-only force-share discard filename locking offset size encrypt.format encrypt.key-secret".split(
    " ",
  ),
);

/** True for an option of an image or its file (`file.NAME`) that may be given and changes nothing that was read or written. */
export function isOptionWithoutEffect(name: string): boolean {
  const base = name.replace(/^file\./, "");
  const isKnown = [COMMON, QCOW2, FILE].some((options) => Object.hasOwn(options, base));
  return isKnown && (!WITH_EFFECT.has(base) || /^file\.(discard|read-only)$/.test(name));
}
