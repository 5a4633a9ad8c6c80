import { readFrame, xxHash64Low32 } from "@qcow2/zstd";
import { execa } from "execa";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nativeZstd } from "../src/codecs/node-zlib.ts";
import { compressZstdCluster, decompressZstdCluster } from "../src/codecs/zstd.ts";
import { incompressible, mixed } from "./bytes.ts";

const CLUSTER = 65536;
const native = nativeZstd();
const zstdTool = await execa("zstd", ["--version"], { reject: false }).then(({ exitCode }) => exitCode === 0);

const DECODERS = [
  { name: "@qcow2/zstd", decoder: undefined, missing: undefined },
  {
    name: "node:zlib",
    decoder: native,
    missing: native === undefined ? "this Node.js has no zstd" : undefined,
  },
];

describe.each(DECODERS)("decompressZstdCluster with $name", ({ decoder, missing }) => {
  const decode = (input: Uint8Array, length: number) =>
    Buffer.from(decompressZstdCluster(decoder, input, length));
  const test = missing === undefined ? it : it.skip;

  describe("frames made by hand", () => {
    test("decodes raw blocks, whatever the header says about sizes", () => {
      for (const options of [{}, { window: 0x58 }, { window: 0x58, size: true }, { checksum: true }]) {
        const content = mixed(1000);
        expect(decode(frame(content, options), 1000).equals(content), JSON.stringify(options)).toBe(true);
      }
    });

    test("decodes frames one after the other, and ignores what follows the last", () => {
      fc.assert(
        fc.property(
          fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 6 }),
          fc.uint8Array({ maxLength: 600 }),
          (parts, garbage) => {
            const content = Buffer.concat(parts);
            fc.pre(content.length > 0);
            const stored = Buffer.concat([...parts.map((part) => frame(part)), garbage]);
            expect(decode(stored, content.length).equals(content)).toBe(true);
          },
        ),
      );
    });

    test("passes over skippable frames and empty ones", () => {
      const content = mixed(100);
      const stored = Buffer.concat([skippable(40), frame(new Uint8Array(0)), frame(content), skippable(1)]);
      expect(decode(stored, 100).equals(content)).toBe(true);
    });

    test("does not allocate what a frame claims", () => {
      // 0xa8 claims a window of 2 GiB.
      const content = mixed(512);
      const stored = frame(content, { window: 0xa8 });
      const before = process.memoryUsage().rss;
      expect(() => decode(stored, 512)).toThrow();
      expect(process.memoryUsage().rss - before).toBeLessThan(256 * 2 ** 20);
      expect(() => decode(frame(content, { claimedSize: 2 ** 31 }), 512)).toThrow(/2147483648/);
    });

    test("refuses a frame that decodes to more than fits, or to another size than it states", () => {
      expect(() => decode(frame(mixed(513)), 512)).toThrow();
      expect(() => decode(frame(mixed(513), { window: 0x58 }), 512)).toThrow();
      expect(() => decode(Buffer.concat([frame(mixed(500)), frame(mixed(13))]), 512)).toThrow();
      expect(() => decode(frame(mixed(500), { claimedSize: 512 }), 512)).toThrow();
      expect(() => decode(frame(mixed(512), { claimedSize: 500 }), 512)).toThrow();
    });

    test("refuses what ends early", () => {
      const stored = frame(mixed(512), { checksum: true });
      for (let length = 0; length < stored.length; length++) {
        expect(() => decode(stored.subarray(0, length), 512), `cut at ${length}`).toThrow();
      }
      expect(() => decode(frame(mixed(500)), 512)).toThrow();
    });

    test("verifies checksums", () => {
      const stored = frame(mixed(512), { checksum: true });
      stored[100]! ^= 1;
      expect(() => decode(stored, 512)).toThrow();
    });

    test("refuses dictionaries, reserved bits and reserved blocks", () => {
      const stored = frame(mixed(512));
      const changed = (at: number, value: number) => {
        const copy = Buffer.from(stored);
        copy[at] = value;
        return copy;
      };
      expect(() => decode(changed(0, 0), 512), "magic").toThrow();
      expect(() => decode(changed(4, stored[4]! | 0x08), 512), "reserved bit").toThrow();
      expect(() => decode(changed(4, stored[4]! | 0x01), 512), "dictionary").toThrow();
      expect(() => decode(changed(9, stored[9]! | 0x06), 512), "reserved block").toThrow();
    });
  });

  describe.skipIf(!zstdTool)("frames of the zstd tool", () => {
    const contents = {
      text: Buffer.from("The quick brown fox jumps over the lazy dog. ".repeat(5000)).subarray(0, CLUSTER),
      mixed: mixed(CLUSTER),
      large: mixed(2 ** 19),
      noise: incompressible(CLUSTER, 5),
      zeroes: Buffer.alloc(CLUSTER),
    };
    for (const [name, content] of Object.entries(contents)) {
      test.each(["-1", "-3", "-19"])(`decodes ${name} at level %s`, async (level) => {
        for (const option of ["--no-check", "--check"]) {
          // From a pipe, the tool does not know the size: the frame then states a window instead.
          const { stdout } = await execa("zstd", ["-c", level, option], {
            input: content,
            encoding: "buffer",
          });
          const stored = Buffer.concat([stdout, incompressible(200, 1)]);
          expect(decode(stored, content.length).equals(content)).toBe(true);
          expect(() => decode(stdout.subarray(0, stdout.length - 5), content.length)).toThrow();
        }
      });
    }
  });

  test("decodes what we write", ({ skip }) => {
    if (native === undefined) return skip("this Node.js has no zstd to write with");
    for (const level of [undefined, 1, 9, 19]) {
      for (const content of [mixed(CLUSTER), Buffer.alloc(CLUSTER), mixed(513), incompressible(CLUSTER, 2)]) {
        const stored = compressZstdCluster(native, content, level);
        expect(decode(stored, content.length).equals(content)).toBe(true);
        expect(readFrame(stored, 0)).toMatchObject({ end: stored.length, contentSize: content.length });
      }
    }
  });
});

interface FrameOptions {
  readonly checksum?: boolean;
  /** A window descriptor: the frame then is not a single segment. */
  readonly window?: number;
  /** With a window: state the size all the same. */
  readonly size?: boolean;
  readonly claimedSize?: number;
}

/** A frame of one raw block. */
function frame(content: Uint8Array, options: FrameOptions = {}): Buffer {
  const statesSize = options.window === undefined || options.size === true;
  const descriptor =
    (statesSize ? 0x80 : 0) |
    (options.window === undefined ? 0x20 : 0) |
    (options.checksum === true ? 0x04 : 0);
  const size = Buffer.alloc(statesSize ? 4 : 0);
  if (statesSize) size.writeUInt32LE(options.claimedSize ?? content.length);
  const block = Buffer.alloc(3);
  block.writeUIntLE((content.length << 3) | 1, 0, 3);
  const checksum = Buffer.alloc(options.checksum === true ? 4 : 0);
  if (options.checksum === true) checksum.writeUInt32LE(xxHash64Low32(content));
  return Buffer.concat([
    Buffer.from([0x28, 0xb5, 0x2f, 0xfd, descriptor]),
    Buffer.from(options.window === undefined ? [] : [options.window]),
    size,
    block,
    content,
    checksum,
  ]);
}

function skippable(length: number): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(0x184d2a53);
  header.writeUInt32LE(length, 4);
  return Buffer.concat([header, incompressible(length, 9)]);
}
