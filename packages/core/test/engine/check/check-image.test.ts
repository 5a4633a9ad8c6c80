/** What each kind of damage is found as; that the counts are QEMU's is the conformance suite's business. */
import { type CheckFinding, checkStorage, isQcow2Error, MemoryStorage, Qcow2Image } from "@qcow2/core";
import { CountingStorage, FaultyStorage, Random } from "@qcow2/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DamagedImage, makeImage } from "./damaged-image.ts";

const COPIED = 1n << 63n;

/** Severity and code of each finding, sorted. */
function kindsOf(findings: readonly CheckFinding[]): string[] {
  return findings.map(({ severity, code }) => `${severity} ${code}`).sort();
}

describe("a sound image", () => {
  it("has no findings, and its clusters are counted", async () => {
    const image = await makeImage();
    const { result, findings } = await image.check();
    expect(findings).toEqual([]);
    expect(result).toEqual({
      corruptions: 0,
      leaks: 0,
      checkErrors: 0,
      totalClusters: 2048,
      allocatedClusters: 12,
      fragmentedClusters: 0,
      compressedClusters: 0,
      imageEndOffset: image.bytes.length,
    });
  });

  it("is also checked while it is open for writing, with what is not yet on disk", async () => {
    const image = await Qcow2Image.create({ storage: new MemoryStorage(), size: 2 ** 20, clusterSize: 512 });
    await image.write({ offset: 0, from: new Uint8Array(100_000).fill(7) });
    expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0, allocatedClusters: 196 });
    await image.close();
  });
});

describe("damage", () => {
  it("a refcount too high is a leak", async () => {
    const image = await makeImage();
    const free = image.bytes.length / image.clusterSize - 1;
    const { result, findings } = await image.changeRefcount(free, (count) => count + 1).check();
    expect(result).toMatchObject({ corruptions: 1, leaks: 1 });
    // A refcount that is not one also contradicts the COPIED flag.
    expect(kindsOf(findings)).toEqual(["corruption copied-flag", "leak leaked-cluster"]);
    expect(findings.find(({ severity }) => severity === "leak")?.hostOffset).toBe(free * image.clusterSize);
  });

  it("a refcount too low is a corruption", async () => {
    const image = await makeImage();
    const cluster = image.l2Offset(1) / image.clusterSize;
    const { result, findings } = await image.changeRefcount(cluster, () => 0).check();
    expect(result).toMatchObject({ corruptions: 2, leaks: 0 });
    expect(kindsOf(findings)).toEqual(["corruption copied-flag", "corruption refcount-too-low"]);
  });

  it("a COPIED flag that is missing in L1 or L2 is found where it is missing", async () => {
    const image = await makeImage();
    image.change(image.l1Offset, (entry) => entry & ~COPIED);
    image.change(image.l2Offset(1) + 8 * (600 - 512), (entry) => entry & ~COPIED);
    const { findings } = await image.check();
    expect(kindsOf(findings)).toEqual(["corruption copied-flag", "corruption copied-flag"]);
    expect(findings.map(({ hostOffset }) => hostOffset)).toEqual([
      image.l1Offset,
      image.l2Offset(1) + 8 * (600 - 512),
    ]);
    expect(findings.map(({ guestOffset }) => guestOffset)).toEqual([0, 600 * 4096]);
  });

  it.each([
    ["L1", (image: DamagedImage) => image.l1Offset],
    ["L2", (image: DamagedImage) => image.l2Offset()],
  ])("reserved bits in %s", async (_, at) => {
    const image = await makeImage();
    const { findings } = await image.change(at(image), (entry) => entry | (1n << 57n)).check();
    expect(kindsOf(findings)).toEqual(["corruption reserved-bits"]);
  });

  it("a guest cluster beyond the end of the file, near or far", async () => {
    for (const offset of [2n ** 40n, 2n ** 55n]) {
      const image = await makeImage();
      const { findings } = await image.change(image.l2Offset(), () => COPIED | offset).check();
      expect(kindsOf(findings)).toEqual([
        "corruption beyond-end",
        "corruption copied-flag",
        "leak leaked-cluster",
      ]);
    }
  });

  it("an L2 table that is not aligned is read where it claims to be", async () => {
    const image = await makeImage();
    const { findings } = await image.change(image.l1Offset + 8, (entry) => entry + 512n).check();
    expect(kindsOf(findings)).toContain("corruption unaligned");
    expect(kindsOf(findings)).toContain("corruption refcount-too-low");
  });

  it("subcluster bitmaps that contradict themselves or their entry", async () => {
    const image = await makeImage({ extendedL2: true, clusterSize: 16384 });
    image.change(image.l2Offset() + 8, () => 0x00000001_ffffffffn);
    image.change(image.l2Offset() + 16 * 20 + 8, () => 1n);
    const { findings } = await image.check();
    expect(kindsOf(findings)).toEqual(["corruption invalid-entry", "corruption invalid-entry"]);
  });

  it.each([
    ["with reserved bits", 1n, ["corruption refcount-block"]],
    ["that is not aligned", 512n, ["corruption refcount-block", "error refcount-block"]],
    ["beyond the end of the file", 2n ** 40n, ["corruption refcount-block"]],
  ])("a refcount block %s", async (_, added, expected) => {
    const image = await makeImage();
    const { result, findings } = await image
      .change(image.refcountTableOffset, (entry) => entry + added)
      .check();
    expect(kindsOf(findings)).toEqual(expect.arrayContaining(expected));
    const clusters = image.bytes.length / image.clusterSize;
    // A block that cannot be read leaves every cluster's refcount open.
    expect(result.checkErrors).toBe(added === 512n ? clusters : 0);
  });

  it("two refcount table entries for one block", async () => {
    const image = await makeImage();
    const block = BigInt(image.firstRefcountBlock);
    const { findings } = await image.change(image.refcountTableOffset + 8, () => block).check();
    expect(kindsOf(findings)).toEqual(["corruption refcount-block", "corruption refcount-too-low"]);
  });

  it("more references than a refcount of one bit can hold", async () => {
    const image = await makeImage({ refcountBits: 1 });
    const first = image.view.getBigUint64(image.l2Offset());
    const { findings } = await image.change(image.l2Offset() + 8, () => first).check();
    expect(kindsOf(findings)).toEqual(["corruption refcount-overflow", "leak leaked-cluster"]);
  });

  it("guest data in a table is an overlap even if every refcount is right", async () => {
    const image = await makeImage();
    const l1Cluster = image.l1Offset / image.clusterSize;
    const before =
      Number(image.view.getBigUint64(image.l2Offset()) & 0x00fffffffffffe00n) / image.clusterSize;
    image.change(image.l2Offset(), () => BigInt(image.l1Offset));
    image.changeRefcount(l1Cluster, () => 2).changeRefcount(before, () => 0);
    const { result, findings } = await image.check();
    expect(kindsOf(findings)).toEqual(["corruption overlap"]);
    expect(result.corruptions).toBe(1);
    expect(findings[0]?.hostOffset).toBe(image.l1Offset);
  });

  it("a snapshot table that cannot be read ends the check: all else would look leaked", async () => {
    const image = await makeImage();
    image.view.setUint32(60, 65537);
    const { result, findings } = await image.check();
    expect(kindsOf(findings)).toEqual(["error snapshot-table"]);
    expect(result).toMatchObject({ checkErrors: 1, corruptions: 0, leaks: 0 });
  });

  it("a header that promises what the file does not have is reported, not allocated", async () => {
    const image = await makeImage();
    // An L1 table of 32 MiB at 2^52, and a refcount table of 8 MiB there as well.
    image.view.setUint32(36, 2 ** 22);
    image.view.setBigUint64(40, 2n ** 52n);
    image.view.setBigUint64(48, 2n ** 52n);
    image.view.setUint32(56, 2048);
    const { findings } = await image.check();
    expect(kindsOf(findings).filter((kind) => kind !== "corruption refcount-too-low")).toEqual([
      "corruption beyond-end",
      "corruption beyond-end",
    ]);
  });

  it("an image of nothing but its header", async () => {
    const image = await makeImage();
    const { findings } = await new DamagedImage(image.bytes.slice(0, 512)).check();
    expect(findings.length).toBeGreaterThan(0);
  });
});

describe("the cost of a check", () => {
  it("does not multiply with L1 entries that all point at one table", async () => {
    // 131,072 references to one L2 table, which is the L1 table itself.
    const storage = new MemoryStorage();
    const image = await Qcow2Image.create({ storage, size: 2 ** 38, clusterSize: 4096 });
    const info = new Uint8Array(64);
    await storage.read(0, info);
    const view = new DataView(info.buffer);
    const l1Offset = Number(view.getBigUint64(40));
    const l1 = new DataView(new ArrayBuffer(view.getUint32(36) * 8));
    for (let at = 0; at < l1.byteLength; at += 8) l1.setBigUint64(at, COPIED | BigInt(l1Offset));
    await storage.write(l1Offset, new Uint8Array(l1.buffer));
    const counting = new CountingStorage(storage);
    const { corruptions } = await checkStorage(counting);
    expect(corruptions).toBeGreaterThan(131_072);
    expect(counting.count("read")).toBeLessThan(100);
    expect(counting.bytesRead).toBeLessThan(4 * (await storage.size()));
    await image.close();
  });

  it("is bounded in batches: more L2 tables than are remembered at a time are all looked at, once", async () => {
    const storage = new MemoryStorage();
    const tables = 80_000;
    const image = await Qcow2Image.create({ storage, size: tables * 32768, clusterSize: 512 });
    const header = new DataView(new ArrayBuffer(64));
    await storage.read(0, new Uint8Array(header.buffer));
    // Every L1 entry has a table of its own in what was a hole: nothing is counted there, so each is one corruption.
    const firstTable = Math.ceil((await storage.size()) / 512) * 512;
    await storage.truncate(firstTable + tables * 512);
    const l1 = new DataView(new ArrayBuffer(tables * 8));
    for (let index = 0; index < tables; index++) l1.setBigUint64(index * 8, BigInt(firstTable + index * 512));
    await storage.write(Number(header.getBigUint64(40)), new Uint8Array(l1.buffer));
    // The first and the last table have an entry with a reserved bit.
    const reserved = new Uint8Array(8).fill(4, 7);
    await storage.write(firstTable, reserved);
    await storage.write(firstTable + (tables - 1) * 512 + 8, reserved);
    const progress: number[] = [];
    const inBatches = await checkStorage(storage, {
      memoryBytes: 2 ** 20,
      onProgress: (fraction) => progress.push(fraction),
    });
    expect(inBatches.corruptions).toBe(tables + 2);
    expect(progress).toEqual([...progress].sort((first, second) => first - second));
    expect(await checkStorage(storage)).toEqual(inBatches);
    await image.close();
  });

  it("is bounded in passes: any amount of memory gives the same counts", async () => {
    const images = [
      await makeImage({ clusterSize: 512, refcountBits: 64 }),
      await makeImage(),
      await makeImage({ refcountBits: 1 }),
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.nat(images.length - 1),
        fc.nat(),
        fc.integer({ min: 0, max: 4 }),
        async (index, seed, hits) => {
          const sound = images[index]!;
          // Far more clusters than one small window holds.
          const image = new DamagedImage(
            new Uint8Array(Math.max(sound.bytes.length, 3000 * sound.clusterSize)),
          );
          image.bytes.set(sound.bytes);
          const random = new Random(seed);
          for (let hit = 0; hit < hits; hit++) {
            const tables = [sound.l1Offset, sound.l2Offset(), sound.firstRefcountBlock];
            const at = random.pick(tables) + random.below(64);
            image.bytes[at] = (image.bytes[at] as number) ^ (1 << random.below(8));
          }
          const whole = await image.check();
          const inPasses = await image.check({ memoryBytes: 1 });
          expect(inPasses.result).toEqual(whole.result);
          expect(kindsOf(inPasses.findings)).toEqual(kindsOf(whole.findings));
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe("a check that meets trouble", () => {
  it("counts what it could not read and goes on", async () => {
    const { bytes } = await makeImage();
    const counting = new FaultyStorage(new MemoryStorage({ bytes }), { failAt: Infinity, kinds: ["read"] });
    const sound = await checkStorage(counting);
    let reported = 0;
    for (let failAt = 1; failAt <= counting.counted; failAt++) {
      const storage = new FaultyStorage(new MemoryStorage({ bytes }), { failAt, kinds: ["read"] });
      try {
        const result = await checkStorage(storage);
        expect(result.checkErrors).toBeGreaterThan(0);
        expect(result.totalClusters).toBe(sound.totalClusters);
        reported++;
      } catch (error) {
        // The header, the active L1 table and the refcount table are what a check cannot do without.
        expect(isQcow2Error(error, "io")).toBe(true);
      }
    }
    expect(reported).toBeGreaterThanOrEqual(3);
  });

  it("stops when it is told to", async () => {
    const { bytes } = await makeImage();
    const storage = new MemoryStorage({ bytes });
    const reason = new Error("enough");
    await expect(checkStorage(storage, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const onFirstProgress = (): void => controller.abort(reason);
    const running = checkStorage(storage, {
      signal: controller.signal,
      memoryBytes: 1,
      onProgress: onFirstProgress,
    });
    await expect(running).rejects.toBe(reason);
  });

  it("reports progress from 0 to 1, never backwards", async () => {
    const { bytes } = await makeImage({ clusterSize: 512 });
    const padded = new Uint8Array(3000 * 512);
    padded.set(bytes);
    const seen: number[] = [];
    await checkStorage(new MemoryStorage({ bytes: padded }), {
      memoryBytes: 1,
      onProgress: (fraction) => seen.push(fraction),
    });
    expect(seen.at(-1)).toBe(1);
    expect(seen.length).toBeGreaterThan(2);
    expect([...seen].sort((first, second) => first - second)).toEqual(seen);
  });
});
