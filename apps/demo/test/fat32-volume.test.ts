import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Fat32Volume } from "../src/disk/fat32-volume.ts";
import { Random } from "../src/disk/random.ts";

const LENGTH = 272 * 2 ** 20;
const WHEN = new Date("2024-05-06T07:08:10Z");

/** A volume with a folder of more entries than one cluster holds, an empty file, a gap and a deleted file. */
function makeVolume(): { volume: Uint8Array; files: Map<string, Uint8Array>; deleted: Uint8Array } {
  const volume = new Uint8Array(LENGTH);
  const random = new Random(7);
  const fat = new Fat32Volume({
    offset: 2 ** 20,
    length: LENGTH,
    label: "TEST",
    write: (offset, bytes) => volume.set(bytes, offset),
  });
  const files = new Map<string, Uint8Array>([["EMPTY", new Uint8Array()]]);
  fat.addFile("EMPTY", new Uint8Array(), WHEN);
  fat.addFolder("SUB", WHEN);
  fat.addFolder("SUB/DEEPER", WHEN);
  for (let index = 0; index < 300; index++) {
    const path = `SUB/DEEPER/F${index}.BIN`;
    const content = random.bytes(random.below(3 * 4096));
    files.set(path, content);
    fat.addFile(path, content, WHEN);
    if (index === 100) fat.skip(10_000);
  }
  const deleted = random.bytes(9000);
  fat.addDeletedFile("GONE.TXT", deleted, WHEN);
  fat.finish();
  return { volume, files, deleted };
}

/** A reader of its own, written from the boot sector's fields, so that it can disagree with the writer. */
class FatReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #fatOffset: number;
  readonly #dataOffset: number;
  readonly #clusterBytes: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
    const sector = this.#view.getUint16(11, true);
    this.#clusterBytes = sector * bytes[13]!;
    this.#fatOffset = sector * this.#view.getUint16(14, true);
    this.#dataOffset = this.#fatOffset + bytes[16]! * sector * this.#view.getUint32(36, true);
  }

  chain(first: number): Uint8Array {
    const pieces: Uint8Array[] = [];
    for (
      let cluster = first;
      cluster < 0x0ffffff8;
      cluster = this.#view.getUint32(this.#fatOffset + cluster * 4, true)
    ) {
      const at = this.#dataOffset + (cluster - 2) * this.#clusterBytes;
      pieces.push(this.#bytes.subarray(at, at + this.#clusterBytes));
    }
    return Buffer.concat(pieces);
  }

  /** Path -> content of every file below the folder that starts at `cluster`. */
  files(cluster: number, prefix = ""): Map<string, Uint8Array> {
    const found = new Map<string, Uint8Array>();
    const folder = Buffer.from(this.chain(cluster));
    for (let at = 0; at < folder.length && folder[at] !== 0; at += 32) {
      const [attributes, name] = [folder[at + 11]!, folder.toString("latin1", at, at + 8).trim()];
      if (folder[at] === 0xe5 || (attributes & 8) !== 0 || name.startsWith(".")) continue;
      const extension = folder.toString("latin1", at + 8, at + 11).trim();
      const path = `${prefix}${name}${extension === "" ? "" : `.${extension}`}`;
      const first = folder.readUInt16LE(at + 20) * 65536 + folder.readUInt16LE(at + 26);
      if ((attributes & 16) !== 0)
        for (const [key, value] of this.files(first, `${path}/`)) found.set(key, value);
      else
        found.set(
          path,
          first === 0 ? Buffer.alloc(0) : this.chain(first).subarray(0, folder.readUInt32LE(at + 28)),
        );
    }
    return found;
  }
}

describe("Fat32Volume", () => {
  it("holds every file under its path, and of a deleted file only the bytes", () => {
    const { volume, files, deleted } = makeVolume();
    const found = new FatReader(volume).files(2);
    expect([...found.keys()].sort()).toEqual([...files.keys()].sort());
    for (const [path, content] of files) expect(Buffer.compare(found.get(path)!, content), path).toBe(0);
    expect(Buffer.from(volume.buffer).includes(Buffer.from(deleted))).toBe(true);
  });

  it("is a file system that fsck.fat finds nothing wrong with", ({ skip }) => {
    const fsck = ["fsck.fat", "/sbin/fsck.fat", "/usr/sbin/fsck.fat"].find(
      (name) => spawnSync(name, ["-h"]).error === undefined,
    );
    if (fsck === undefined) return skip("fsck.fat (package dosfstools) is not installed");
    const folder = mkdtempSync(join(tmpdir(), "qcow2-demo-"));
    try {
      const path = join(folder, "volume.img");
      writeFileSync(path, makeVolume().volume);
      // 301 files, two folders and the label; a finding would make the exit code 1, which throws.
      expect(execFileSync(fsck, ["-n", path], { encoding: "utf8" })).toMatch(/: 304 files, /);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
