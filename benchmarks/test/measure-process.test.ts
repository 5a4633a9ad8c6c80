import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { findMeter, parseUsage } from "../src/measure/measure-process.ts";

test("reads what GNU time writes, also behind its words about a program that failed", () => {
  expect(parseUsage("2048 1.25 0.50\n")).toEqual({ peakBytes: 2 * 2 ** 20, cpuSeconds: 1.75 });
  expect(parseUsage("Command exited with non-zero status 1\n1012 0.00 0.01\n").peakBytes).toBe(1012 * 1024);
  expect(() => parseUsage("")).toThrow("GNU time");
});

describe.skipIf(process.platform !== "linux" || !existsSync("/usr/bin/time"))("with GNU time", () => {
  test("a process that holds memory and works is measured as such", async () => {
    const meter = await findMeter();
    const measure = async (program: string): Promise<{ seconds: number; cpu: number; peak: number }> => {
      const result = await meter.measure([process.execPath, "-e", program]);
      expect(result.exitCode).toBe(0);
      return { seconds: result.seconds, cpu: result.cpuSeconds!, peak: result.peakBytes! };
    };
    const idle = await measure("setTimeout(() => {}, 400)");
    const busy = await measure(
      "const held = Buffer.alloc(200 * 2 ** 20, 1); const end = Date.now() + 400; while (Date.now() < end) held[0]++;",
    );
    expect(idle.seconds).toBeGreaterThan(0.4);
    // Waiting takes no processor time; how much working gets depends on who else works.
    expect(idle.cpu).toBeLessThan(busy.cpu);
    expect(busy.peak - idle.peak).toBeGreaterThan(190 * 2 ** 20);
    expect(busy.peak - idle.peak).toBeLessThan(260 * 2 ** 20);
  });

  test("the exit code and both outputs are the process's own", async () => {
    const meter = await findMeter();
    const program = "process.stdout.write('out'); process.stderr.write('err'); process.exitCode = 3";
    const result = await meter.measure([process.execPath, "-e", program]);
    expect(result).toMatchObject({ exitCode: 3, stdout: "out", stderr: "err" });
  });
});
