/** What else a file has that is replaced: notes of programs, and lists of who may do what. */
import fs from "node:fs/promises";
import { expect, it } from "vitest";
import type { ExtendedAttributes } from "../src/native/extended-attributes.ts";
import { loadLibc } from "../src/native/libc.ts";
import { keepAttributes } from "../src/target/keep-attributes.ts";
import { TargetFile } from "../src/target/target-file.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();
const attributes = (await loadLibc())?.attributes;
const ACCESS = "system.posix_acl_access";
const DEFAULT = "system.posix_acl_default";

/** The list as the kernel has it: the owner and user 1000 may read and write, the group and others nothing. */
function accessList(): Uint8Array {
  const entries = [
    [0x01, 6, 0xffffffff],
    [0x02, 6, 1000],
    [0x04, 0, 0xffffffff],
    [0x10, 6, 0xffffffff],
    [0x20, 0, 0xffffffff],
  ] as const;
  const list = Buffer.alloc(4 + 8 * entries.length);
  list.writeUInt32LE(2, 0);
  for (const [index, [tag, permissions, id]] of entries.entries()) {
    list.writeUInt16LE(tag, 4 + 8 * index);
    list.writeUInt16LE(permissions, 6 + 8 * index);
    list.writeUInt32LE(id, 8 + 8 * index);
  }
  return list;
}

async function set(name: string, values: Readonly<Record<string, Uint8Array>>): Promise<string | undefined> {
  await using file = await fs.open(inDirectory(name), "r");
  const failed = Object.entries(values).find(([key, value]) => attributes?.set(file.fd, key, value) !== 0);
  return failed === undefined ? undefined : `this file system does not keep ${failed[0]}`;
}

async function get(name: string): Promise<Record<string, string>> {
  await using file = await fs.open(inDirectory(name), "r");
  const found = attributes?.list(file.fd).map((key) => [key, attributes.get(file.fd, key)] as const) ?? [];
  return Object.fromEntries(
    found
      .filter(([key]) => /^user\.|acl/.test(key))
      .map(([key, value]) => [key, Buffer.from(value ?? []).toString("hex")]),
  );
}

async function replace(name: string): Promise<void> {
  const target = await TargetFile.create(inDirectory(name));
  await target.storage.write(0, Buffer.from("new"));
  await target.commit();
}

it.runIf(attributes !== undefined)("extended attributes and the access list are kept", async ({ skip }) => {
  await fs.writeFile(inDirectory("a.img"), "old", { mode: 0o600 });
  const wanted = {
    "user.note": Buffer.from("n\0te"),
    "user.empty": new Uint8Array(),
    [ACCESS]: accessList(),
  };
  const reason = await set("a.img", wanted);
  if (reason !== undefined) return skip(reason);
  const before = await get("a.img");
  expect(Object.keys(before).sort()).toEqual([ACCESS, "user.empty", "user.note"]);
  await replace("a.img");
  expect(await get("a.img")).toEqual(before);
});

it.runIf(attributes !== undefined)(
  "a list that a folder gives to new files is not for this one",
  async ({ skip }) => {
    await fs.mkdir(inDirectory("folder"));
    await fs.writeFile(inDirectory("folder/a.img"), "old", { mode: 0o640 });
    const reason = await set("folder", { [DEFAULT]: accessList() });
    if (reason !== undefined) return skip(reason);
    await replace("folder/a.img");
    expect(await get("folder/a.img")).toEqual({});
    await replace("folder/new.img");
    expect(await get("folder/new.img"), "a new one has it").toHaveProperty([ACCESS]);
  },
);

it.skipIf(process.platform === "win32")("without its list, the group may not do more", async () => {
  const lost: ExtendedAttributes = {
    list: () => [ACCESS],
    get: () => accessList(),
    set: () => -1,
    remove: () => 0,
  };
  await using from = await fs.open(inDirectory("from"), "w", 0o600);
  await using to = await fs.open(inDirectory("to"), "w", 0o600);
  await from.chmod(0o660);
  keepAttributes(from.fd, to.fd, { name: "a.img", extended: lost });
  expect((await to.stat()).mode & 0o777).toBe(0o600);
});
