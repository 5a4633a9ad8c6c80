/** Requests that no disk can fulfil: a typed error, and nothing is written. */
import { type ErrorCode, isQcow2Error, type MemoryStorage, type Qcow2Image } from "@qcow2/core";
import { ENGINE_SHAPES, openShape, type ShapeFiles } from "@qcow2/testing";
import { beforeEach, describe, expect, it } from "vitest";

const SHAPE = ENGINE_SHAPES.find(({ name }) => name === "clusters of 4 KiB")!;
const CLUSTER = SHAPE.clusterSize;
const BYTES = new Uint8Array(CLUSTER);

type Request = (image: Qcow2Image) => Promise<unknown>;

/** Every way to change the image, with a range. */
const CHANGES: Readonly<Record<string, (offset: number, length: number) => Request>> = {
  write: (offset, length) => (image) => image.write({ offset, from: new Uint8Array(length) }),
  writeZeroes: (offset, length) => (image) => image.writeZeroes({ offset, length }),
  unmap: (offset, length) => (image) => image.writeZeroes({ offset, length, unmap: true }),
  discard: (offset, length) => (image) => image.discard({ offset, length }),
};

let files: ShapeFiles;
let before: Uint8Array;
beforeEach(async () => {
  ({ files } = await SHAPE.build());
  before = (files.image as MemoryStorage).toBytes();
});

async function expectRefusal(request: Request, image: Qcow2Image, code: ErrorCode): Promise<void> {
  const error: unknown = await request(image).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(isQcow2Error(error, code), String(error)).toBe(true);
}

function expectUntouched(): void {
  expect(Buffer.from(files.image.toBytes()).equals(before)).toBe(true);
}

describe.each(Object.entries(CHANGES))("%s", (_name, change) => {
  it("refuses ranges that do not lie within the disk", async () => {
    const image = await openShape(files);
    for (const [offset, length] of [
      [SHAPE.size, 1],
      [SHAPE.size - 1, 2],
      [SHAPE.size + CLUSTER, 1],
      [2 ** 40, CLUSTER],
    ] as const) {
      await expectRefusal(change(offset, length), image, "out-of-range");
    }
    await image.close();
    expectUntouched();
  });

  it.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])("refuses offset %s", async (offset) => {
    const image = await openShape(files);
    await expect(change(offset, 1)(image)).rejects.toThrow(RangeError);
    await image.close();
    expectUntouched();
  });

  it("refuses a read-only image and one that is closed", async () => {
    const readOnly = await openShape(files, { readOnly: true });
    await expectRefusal(change(0, CLUSTER), readOnly, "read-only");
    await readOnly.close();
    const closed = await openShape(files);
    await closed.close();
    await expectRefusal(change(0, CLUSTER), closed, "closed");
    expectUntouched();
  });

  it("does nothing for an empty range", async () => {
    const image = await openShape(files);
    await change(SHAPE.size, 0)(image);
    await change(0, 0)(image);
    await image.close();
    expectUntouched();
  });
});

describe("buffers", () => {
  it("are Uint8Arrays", async () => {
    const image = await openShape(files);
    for (const from of ["text", [1, 2, 3], new ArrayBuffer(512), undefined, new Float64Array(64)]) {
      const wrong = from as unknown as Uint8Array;
      await expect(image.write({ offset: 0, from: wrong }), String(from)).rejects.toThrow(TypeError);
      await expect(image.writeCompressed({ offset: 0, from: wrong })).rejects.toThrow(TypeError);
      await expect(image.read({ offset: 0, into: wrong })).rejects.toThrow(TypeError);
    }
    await image.close();
    expectUntouched();
  });

  it("of compressed writes are whole clusters, at a cluster's start", async () => {
    const image = await openShape(files);
    for (const [offset, length] of [
      [0, CLUSTER - 1],
      [0, CLUSTER + 512],
      [0, 0],
      [512, CLUSTER],
      [SHAPE.size - (SHAPE.size % CLUSTER), 512],
    ] as const) {
      await expect(image.writeCompressed({ offset, from: new Uint8Array(length) })).rejects.toThrow(
        RangeError,
      );
    }
    await image.close();
    expectUntouched();
  });
});

it("closes twice, and reads no more afterwards", async () => {
  const image = await openShape(files);
  await image.close();
  await image.close();
  await expectRefusal((closed) => closed.read({ offset: 0, into: BYTES }), image, "closed");
  await expectRefusal((closed) => closed.flush(), image, "closed");
  await expectRefusal((closed) => closed.check(), image, "closed");
});

it("refuses compression where the image cannot have it", async () => {
  const shape = ENGINE_SHAPES.find(({ hasDataFile }) => hasDataFile)!;
  const image = await openShape((await shape.build()).files);
  await expectRefusal((open) => open.writeCompressed({ offset: 0, from: BYTES }), image, "unsupported");
  await image.close();
});
