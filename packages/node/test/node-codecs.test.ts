import type { ClusterCodec } from "@qcow2/core";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { bufferPrimitives } from "../src/buffer-primitives.ts";
import { deflateCluster } from "../src/codecs/deflate.ts";
import { nodeCodecs } from "../src/codecs/node-codecs.ts";
import { nativeZstd } from "../src/codecs/node-zlib.ts";
import { compressZstdCluster } from "../src/codecs/zstd.ts";
import { incompressible, mixed } from "./bytes.ts";

const CLUSTER = 65536;
const types = nativeZstd() === undefined ? (["zlib"] as const) : (["zlib", "zstd"] as const);

describe.each(types)("nodeCodecs: %s", (type) => {
  it.each([0, 1, 3])(
    "compresses many clusters at once on %d threads, each into its own answer",
    async (threads) => {
      await using codecs = nodeCodecs({ threads });
      const codec = codecs[type];
      const clusters = Array.from({ length: 40 }, (_, index) =>
        Buffer.concat([incompressible(100 + index * 700, index), mixed(CLUSTER)]).subarray(
          0,
          CLUSTER - index,
        ),
      );
      const stored = await Promise.all(clusters.map((cluster) => codec.compress!(cluster)));
      for (const [index, cluster] of clusters.entries()) {
        expect(stored[index]!.length).toBeLessThan(cluster.length);
        const output = await codec.decompress(stored[index]!, cluster.length);
        expect(Buffer.from(output).equals(cluster)).toBe(true);
      }
    },
  );

  it("leaves the caller's buffer alone, and takes a view for what it is", async () => {
    await using codecs = nodeCodecs({ threads: 1 });
    const whole = mixed(3 * CLUSTER);
    const before = Buffer.from(whole);
    const view = whole.subarray(CLUSTER, 2 * CLUSTER);
    const compressing = codecs[type].compress!(view);
    expect(whole.equals(before), "still there while the worker has it").toBe(true);
    const output = await codecs[type].decompress(await compressing, CLUSTER);
    expect(Buffer.from(output).equals(before.subarray(CLUSTER, 2 * CLUSTER))).toBe(true);
    view.fill(0);
    expect(Buffer.from(await codecs[type].decompress(await compressing, CLUSTER)).equals(view)).toBe(false);
  });

  it("gives every answer memory of its own, small ones too", async () => {
    await using codecs = nodeCodecs({ threads: 1 });
    const answers = await Promise.all(
      [1, 2, 3].map((value) => codecs[type].compress!(Buffer.alloc(512, value))),
    );
    for (const answer of answers) expect(answer.buffer.byteLength).toBe(answer.length);
    for (const [index, answer] of answers.entries()) {
      expect(
        Buffer.from(await codecs[type].decompress(answer, 512)).every((byte) => byte === index + 1),
      ).toBe(true);
    }
  });

  it("compresses harder at higher levels", async () => {
    const text = Buffer.from(
      Array.from({ length: 6000 }, (_, index) => `${index * 7919} `).join(""),
    ).subarray(0, CLUSTER);
    const sizes = await Promise.all(
      [1, 9].map(async (level) => {
        await using codecs = nodeCodecs({ threads: 1, level });
        return (await codecs[type].compress!(text)).length;
      }),
    );
    expect(sizes[1]).toBeLessThan(sizes[0]!);
  });

  it("gives what the documented function gives, at every level and again and again", async () => {
    const native = nativeZstd();
    const clusters = [mixed(CLUSTER), incompressible(CLUSTER, 3), mixed(CLUSTER), Buffer.alloc(700, "qcow2")];
    for (const level of [undefined, 1, 6, 9]) {
      await using codecs = nodeCodecs({ threads: 0, level });
      for (const cluster of clusters) {
        const expected =
          native === undefined || type === "zlib"
            ? deflateCluster(cluster, level)
            : compressZstdCluster(native, cluster, level);
        expect(Buffer.from(await codecs[type].compress!(cluster)).equals(expected)).toBe(true);
      }
    }
  });

  it("refuses to compress after close, and still decompresses", async () => {
    const codecs = nodeCodecs({ threads: 1 });
    const stored = await codecs[type].compress!(mixed(CLUSTER));
    await codecs.close();
    await codecs.close();
    await expect(async () => codecs[type].compress!(mixed(CLUSTER))).rejects.toMatchObject({
      code: "closed",
    });
    expect((await codecs[type].decompress(stored, CLUSTER)).length).toBe(CLUSTER);
  });
});

describe("nodeCodecs", () => {
  it("can compress with zstd exactly where Node.js can", async () => {
    await using codecs = nodeCodecs();
    expect(codecs.zstd.compress !== undefined).toBe(nativeZstd() !== undefined);
  });

  it.each([
    { threads: -1 },
    { threads: 1.5 },
    { threads: 1000 },
    { level: 0 },
    { level: 23 },
    { level: Number.NaN },
  ])("refuses %o", (options) => {
    expect(() => nodeCodecs(options)).toThrow(RangeError);
  });

  describe("in a process of its own", () => {
    const run = (code: string) =>
      execa(
        process.execPath,
        ["--input-type=module", "-e", `import { nodeCodecs } from "@qcow2/node";\n${code}`],
        {
          cwd: import.meta.dirname,
          timeout: 10_000,
          reject: false,
        },
      );

    it("does not keep the process alive once it has nothing to do", async () => {
      const { exitCode, stdout } = await run(`
        const codecs = nodeCodecs({ threads: 2 });
        codecs.zlib.compress(new Uint8Array(65536)).then((stored) => console.log(stored.length));
      `);
      expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: expect.stringMatching(/^\d+$/) });
    });

    it("keeps the process alive until the answer is there", async () => {
      const { exitCode, stdout } = await run(`
        const codecs = nodeCodecs({ threads: 1 });
        for (let round = 0; round < 3; round++) {
          await Promise.all(Array.from({ length: 5 }, () => codecs.zlib.compress(new Uint8Array(65536))));
        }
        await codecs.close();
        console.log("done");
      `);
      expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: "done" });
    });
  });
});

describe.each(types)("many clusters at a time: %s", (type) => {
  it.each([1, 3])("are what they are one by one, on %d threads", async (threads) => {
    await using codecs = nodeCodecs({ threads });
    const codec = codecs[type];
    const clusters = Buffer.concat([mixed(19 * CLUSTER), incompressible(CLUSTER, 5), mixed(700)]);
    const stored = await codec.compressAll!(clusters, CLUSTER);
    expect(stored).toHaveLength(21);
    for (const [index, bytes] of stored.entries()) {
      const cluster = clusters.subarray(index * CLUSTER, (index + 1) * CLUSTER);
      expect(Buffer.from(await codec.compress!(cluster)).equals(bytes)).toBe(true);
      expect(Buffer.from(await codec.decompress(bytes, cluster.length)).equals(cluster)).toBe(true);
    }
  });

  it.each(["shared", "ordinary"])("are decoded into %s memory, wherever they are stored", async (memory) => {
    await using codecs = nodeCodecs({ threads: 2 });
    const codec = codecs[type];
    const clusters = mixed(30 * CLUSTER);
    const stored = await codec.compressAll!(clusters, CLUSTER);
    const output =
      memory === "shared" ? bufferPrimitives.allocate(clusters.length) : Buffer.alloc(clusters.length);
    await decodeAll(codec, stored, output);
    expect(Buffer.from(output).equals(clusters)).toBe(true);
  });

  it("are refused if one of them is damaged or cannot be read, and the next batch is not", async () => {
    await using codecs = nodeCodecs({ threads: 2 });
    const codec = codecs[type];
    const clusters = mixed(10 * CLUSTER);
    const stored = await codec.compressAll!(clusters, CLUSTER);
    const output = Buffer.alloc(clusters.length);
    const damaged = stored.map((bytes, index) =>
      index === 7 ? new Uint8Array(bytes.length).fill(0xff) : bytes,
    );
    await expect(decodeAll(codec, damaged, output)).rejects.toThrow();
    const failing = codec.decompressAll!(1000, () => Promise.reject(new Error("unreadable")), []);
    await expect(failing).rejects.toThrow("unreadable");
    await decodeAll(codec, stored, output);
    expect(output.equals(clusters)).toBe(true);
  });
});

/** As the engine asks: all stored clusters in one input, with something between them. */
async function decodeAll(
  codec: ClusterCodec,
  stored: readonly Uint8Array[],
  output: Uint8Array,
): Promise<void> {
  const gap = Buffer.alloc(100, 0xff);
  const input = Buffer.concat(stored.flatMap((bytes) => [bytes, gap]));
  let start = 0;
  const clusters = stored.map((bytes, index) => {
    const cluster = {
      start,
      length: bytes.length,
      into: output.subarray(index * CLUSTER, (index + 1) * CLUSTER),
    };
    start += bytes.length + gap.length;
    return cluster;
  });
  await codec.decompressAll!(input.length, async (into) => into.set(input), clusters);
}
