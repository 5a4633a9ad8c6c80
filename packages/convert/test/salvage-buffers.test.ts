/** What cannot be read becomes zeroes, whatever the failed read has left in the buffer. */
import { MemoryStorage, Qcow2Error, RawDisk } from "@qcow2/core";
import { expect, it } from "vitest";
import { readSalvaging } from "../src/salvage.ts";

const SECTOR = 512;

/** Its second sector cannot be read: what a read that fails there leaves behind is rubbish. */
class OneBadSector extends MemoryStorage {
  override async read(offset: number, into: Uint8Array): Promise<number> {
    const isBad = offset < 2 * SECTOR && offset + into.length > SECTOR;
    if (!isBad) return await super.read(offset, into);
    into.fill(0xee);
    throw new Qcow2Error("io", "Input/output error", { operation: "read from", name: "bad", errno: "EIO" });
  }
}

it("zeroes the sector, and nothing else", async () => {
  const storage = new OneBadSector({ bytes: new Uint8Array(4 * SECTOR).fill(7) });
  await using disk = await RawDisk.open({ storage });
  const into = new Uint8Array(4 * SECTOR).fill(0x55);
  const unreadable = await readSalvaging(disk, 0, into);
  expect(unreadable).toMatchObject([{ offset: SECTOR, length: SECTOR }]);
  expect(into).toEqual(new Uint8Array(4 * SECTOR).fill(7).fill(0, SECTOR, 2 * SECTOR));
});
