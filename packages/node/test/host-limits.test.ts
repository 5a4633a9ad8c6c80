import { describe, expect, it } from "vitest";
import { memoryError, namingMemory } from "../src/codecs/memory-error.ts";
import { isOutOfMemory } from "../src/codecs/out-of-memory.ts";
import { addressSpaceLeft, softLimit } from "../src/native/address-space.ts";
import { processesGroup } from "../src/native/host-threads.ts";

const LIMITS = `Limit                     Soft Limit           Hard Limit           Units
Max data size             unlimited            unlimited            bytes
Max processes             34                   96364                processes
Max address space         unlimited            unlimited            bytes
`;

describe("the limits of a process", () => {
  it("are the soft ones", () => {
    expect(softLimit(LIMITS, "Max processes")).toBe(34);
    expect(softLimit(LIMITS, "Max address space")).toBe(Number.POSITIVE_INFINITY);
    expect(softLimit("", "Max processes")).toBe(Number.POSITIVE_INFINITY);
  });

  it.skipIf(process.platform !== "linux")("leave what is not taken yet", () => {
    expect(addressSpaceLeft(LIMITS)).toBe(Number.POSITIVE_INFINITY);
    const most = 2 ** 50;
    for (const name of ["Max address space", "Max data size"]) {
      const left = addressSpaceLeft(LIMITS.replace(new RegExp(`(${name} +)unlimited`), `$1${most}`));
      expect(left, name).toBeLessThan(most);
      expect(left, name).toBeGreaterThan(most / 2);
    }
  });

  it("of a control group are in its folder, whatever the version", () => {
    expect(processesGroup("9:name=systemd:/\n8:pids:/docker/1\n0::/\n")).toBe("/sys/fs/cgroup/pids/docker/1");
    expect(processesGroup("0::/user.slice\n")).toBe("/sys/fs/cgroup/user.slice");
    expect(processesGroup("")).toBe("/sys/fs/cgroup");
  });
});

describe("want of memory", () => {
  const ofV8 = new RangeError("Array buffer allocation failed");
  const ofZlib = Object.assign(new Error("insufficient memory"), { code: "Z_MEM_ERROR" });
  const damaged = Object.assign(new Error("invalid distance"), { code: "Z_DATA_ERROR" });

  it("is told from damaged data", () => {
    expect([ofV8, ofZlib].map(isOutOfMemory)).toEqual([true, true]);
    const others = [
      damaged,
      new RangeError("Invalid typed array length: -1"),
      new Error("no"),
      "no",
      undefined,
    ];
    for (const other of others) {
      expect(isOutOfMemory(other)).toBe(false);
      expect(memoryError(other, "compress")).toBe(other);
    }
    expect(isOutOfMemory(memoryError(ofV8, "decompress"))).toBe(true);
  });

  it.each(["thrown", "rejected with"])("has its name when it is %s", async (how) => {
    const fail = (error: unknown): Promise<never> => {
      if (how === "thrown") throw error;
      return Promise.reject(error);
    };
    const running = async (error: unknown): Promise<unknown> =>
      await namingMemory("compress", () => fail(error));
    await expect(running(ofZlib)).rejects.toMatchObject({ code: "out-of-memory", cause: ofZlib });
    await expect(running(damaged)).rejects.toBe(damaged);
  });
});
