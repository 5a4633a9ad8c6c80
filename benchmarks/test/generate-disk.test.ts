import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ContentSource } from "../src/disk/content.ts";
import { DISK_RECIPE, generateDisk } from "../src/disk/generate-disk.ts";

const MIB = 2 ** 20;
const OPTIONS = { size: 24 * MIB, dataBytes: 12 * MIB };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "qcow2-benchmarks-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function disk(seed: number): Promise<Buffer> {
  const path = join(folder, "disk.raw");
  await generateDisk({ path, seed, ...OPTIONS });
  const { blocks } = await stat(path);
  // Half of the disk is holes; elsewhere it depends on the file system whether they take space.
  if (process.platform === "linux") expect(blocks * 512).toBeLessThan(16 * MIB);
  return await readFile(path);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

test("the disk of a seed is the same everywhere and always, until its recipe has another number", async () => {
  const bytes = await disk(1);
  expect(bytes.length).toBe(OPTIONS.size);
  expect({ recipe: DISK_RECIPE, sha256: sha256(bytes) }).toMatchInlineSnapshot(`
    {
      "recipe": 1,
      "sha256": "dfca1b2aab402129120ec8492898639ad010ab71bb5d3d114d2e66271526e702",
    }
  `);
});

test("another seed gives another disk", async () => {
  expect(sha256(await disk(2))).not.toBe(sha256(await disk(1)));
});

test("content compresses as an operating system's does, and packed content not at all", () => {
  const content = new ContentSource(7);
  const ratio = (kind: "text" | "binary" | "packed" | "zero"): number => {
    let compressed = 0;
    const cluster = new Uint8Array(65_536);
    for (let count = 0; count < 64; count++) {
      content.fill(kind, cluster);
      compressed += deflateRawSync(cluster, { windowBits: 12 }).length;
    }
    return compressed / (64 * cluster.length);
  };
  expect(ratio("text")).toBeGreaterThan(0.15);
  expect(ratio("text")).toBeLessThan(0.4);
  expect(ratio("binary")).toBeGreaterThan(0.25);
  expect(ratio("binary")).toBeLessThan(0.5);
  expect(ratio("packed")).toBeGreaterThan(0.99);
  expect(ratio("zero")).toBeLessThan(0.01);
});
