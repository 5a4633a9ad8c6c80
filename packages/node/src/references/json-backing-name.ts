/**
 * Names such as `json:{"driver":"qcow2","file":{"filename":"base.qcow2"}}`, as QEMU records them in images. They are not
 * interpreted here to open anything: who looks for the images that read a file wants to know what is named in them.
 */
import { directoryPrefix } from "./file-name.ts";

const PREFIX = "json:";

export function isJsonBackingName(name: string): boolean {
  return name.startsWith(PREFIX);
}

/** Every file that is named at any depth, as QEMU would find it, and as it lies beside the image at `from`. */
export function pathsInJsonName(name: string, from: string): readonly string[] {
  const names = fileNamesIn(parse(name.slice(PREFIX.length)));
  return names.flatMap((file) => [file, directoryPrefix(from) + file]);
}

function parse(json: string): unknown {
  // QEMU's JSON also has strings in single quotes.
  for (const text of [json, json.replaceAll("'", '"')]) {
    try {
      return JSON.parse(text);
    } catch {
      // Nothing that names a file, then.
    }
  }
  return undefined;
}

function fileNamesIn(value: unknown, key = ""): string[] {
  if (typeof value === "string") return /(^|\.)filename$/.test(key) ? [value.replace(/^file:/, "")] : [];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => fileNamesIn(member, name));
}
