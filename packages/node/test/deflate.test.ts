import zlib from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deflateCluster, inflateCluster } from "../src/codecs/deflate.ts";
import { incompressible, mixed } from "./bytes.ts";

const CLUSTER = 65536;

describe("inflateCluster", () => {
  it("reads what it wrote, for every kind of content and length", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 5000 }),
        fc.integer({ min: 1, max: 40 }),
        fc.uint8Array({ maxLength: 600 }),
        async (pattern, repeats, trailing) => {
          const cluster = Buffer.concat(Array.from({ length: repeats }, () => pattern));
          const stored = Buffer.concat([deflateCluster(cluster, undefined), trailing]);
          expect(Buffer.from(await inflateCluster(stored, cluster.length)).equals(cluster)).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("accepts a window of 15 bits", async () => {
    const part = incompressible(24 * 1024, 1);
    const cluster = Buffer.concat([part, part]);
    const wide = zlib.deflateRawSync(cluster, { windowBits: 15 });
    expect(wide.length, "the second part is a reference 24 KiB back").toBeLessThan(26 * 1024);
    expect(Buffer.from(await inflateCluster(wide, cluster.length)).equals(cluster)).toBe(true);
  });

  it("writes a window of 12 bits: no reference goes back further than 4 KiB", () => {
    const half = incompressible(8192, 1);
    expect(deflateCluster(Buffer.concat([half, half]), 9).length).toBeGreaterThan(16000);
  });

  it.each([0, 511, 512, 70000])("ignores %d bytes of garbage after the end", async (garbage) => {
    const cluster = mixed(CLUSTER);
    const stored = Buffer.concat([deflateCluster(cluster, 1), incompressible(garbage, 7)]);
    expect(Buffer.from(await inflateCluster(stored, CLUSTER)).equals(cluster)).toBe(true);
  });

  it("accepts a full cluster without an end of stream, as QEMU does", async () => {
    const cluster = mixed(CLUSTER);
    const open = await flushed(cluster);
    expect(Buffer.from(await inflateCluster(open, CLUSTER)).equals(cluster)).toBe(true);
  });

  it("does not look at what a stream that goes on says after the cluster", async () => {
    const cluster = mixed(CLUSTER);
    const goesOn = await flushed(Buffer.concat([cluster, incompressible(10, 3)]));
    const stored = Buffer.concat([goesOn, Buffer.alloc(512, 0xff)]);
    expect(Buffer.from(await inflateCluster(stored, CLUSTER)).equals(cluster)).toBe(true);
  });

  it.each([1, 40, CLUSTER, 20 * CLUSTER])(
    "reads the beginning of a stream that has %d bytes too many",
    async (more) => {
      const cluster = mixed(CLUSTER);
      const long = deflateCluster(Buffer.concat([cluster, Buffer.alloc(more)]), undefined);
      const output = await inflateCluster(long, CLUSTER);
      expect(output.length).toBe(CLUSTER);
      expect(Buffer.from(output).equals(cluster)).toBe(true);
    },
  );

  it("refuses what decodes to less", async () => {
    const cluster = mixed(CLUSTER);
    const short = deflateCluster(cluster.subarray(0, CLUSTER - 1), undefined);
    await expect(async () => inflateCluster(short, CLUSTER)).rejects.toThrow(/65535/);
    const cut = deflateCluster(cluster, undefined);
    await expect(async () => inflateCluster(cut.subarray(0, cut.length / 2), CLUSTER)).rejects.toThrow();
    await expect(async () => inflateCluster(new Uint8Array(0), CLUSTER)).rejects.toThrow();
  });

  it("refuses damaged data", async () => {
    await expect(async () => inflateCluster(Buffer.alloc(512, 0xff), CLUSTER)).rejects.toThrow();
    const damaged = Buffer.concat([await flushed(mixed(CLUSTER / 2)), Buffer.alloc(512, 0xff)]);
    await expect(async () => inflateCluster(damaged, CLUSTER)).rejects.toThrow();
  });
});

/** `data` as deflate that could go on: flushed, without a final block. */
function flushed(data: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const stream = zlib.createDeflateRaw({ windowBits: 12 });
    const pieces: Buffer[] = [];
    stream.on("data", (piece: Buffer) => pieces.push(piece));
    stream.on("error", reject);
    stream.write(data);
    stream.flush(zlib.constants.Z_SYNC_FLUSH, () => resolve(Buffer.concat(pieces)));
  });
}
