import { MemoryStorage, probeStorage } from "@qcow2/core";
import { expect, it } from "vitest";

async function probe(content: string, path?: string): Promise<string> {
  const storage = new MemoryStorage();
  await storage.write(
    0,
    Uint8Array.from(content, (character) => character.charCodeAt(0)),
  );
  return await probeStorage(storage, { path });
}

const BODY = "\0".repeat(4096);
const TRAILER = "koly\0\0\0\x04\0\0\x02\0".padEnd(512, "\0");

// What QEMU's own probes answer, and the trailer, which QEMU looks for only in files called .dmg.
it.each([
  [BODY, "raw"],
  ["", "raw"],
  ["koly", "raw"],
  [BODY + TRAILER, "dmg"],
  [`${BODY}${TRAILER}${"\0".repeat(511)}`, "dmg"],
  [TRAILER, "dmg"],
  [`${BODY}koly${BODY}`, "raw"],
  [`${TRAILER}${BODY}`, "raw"],
  [`QFI\xfb\0\0\0\x03${BODY}${TRAILER}`, "qcow2"],
  [`QFI\xfb\0\0\0\x01${BODY}`, "qcow"],
  [`${BODY}conectix`.padEnd(5000, "\0"), "raw"],
  [`KDMV${BODY}`, "vmdk"],
  [`COWD${BODY}`, "vmdk"],
  [`version=1\n${BODY}`, "vmdk"],
  [`# Disk DescriptorFile\r\nversion=3\r\n${BODY}`, "vmdk"],
  [`# any\n# comment\n  \nversion=2\n${BODY}`, "vmdk"],
  [`version=4\n${BODY}`, "raw"],
  [`\nversion=1\n${BODY}`, "raw"],
  [`# any comment\n${BODY}`, "raw"],
])("%# %j", async (content, format) => {
  expect(await probe(content)).toBe(format);
});

it("takes what is called .dmg for one, as QEMU does, unless it begins as something else", async () => {
  expect(await probe(BODY, "/images/a.dmg")).toBe("dmg");
  expect(await probe(BODY, "/images/a.DMG")).toBe("raw");
  expect(await probe(BODY, "/images.dmg/a")).toBe("raw");
  expect(await probe(`QFI\xfb\0\0\0\x03${BODY}`, "a.dmg")).toBe("qcow2");
});
