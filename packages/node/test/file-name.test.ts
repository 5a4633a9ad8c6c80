import { isQcow2Error } from "@qcow2/core";
import { describe, expect, it } from "vitest";
import { resolveBackingName, resolveDataFileName } from "../src/references/file-name.ts";

describe.skipIf(process.platform === "win32")("resolveBackingName", () => {
  it.each([
    ["base.raw", "vm.qcow2", "base.raw"],
    ["base.raw", "dir/vm.qcow2", "dir/base.raw"],
    ["../base.raw", "/a/b/vm.qcow2", "/a/b/../base.raw"],
    ["/abs/base.raw", "dir/vm.qcow2", "/abs/base.raw"],
    ["./with:colon", "a/vm.qcow2", "a/./with:colon"],
    ["file:base.raw", "a/vm.qcow2", "base.raw"],
    ["file:/abs/base.raw", "a/vm.qcow2", "/abs/base.raw"],
    ["file:nbd:x", "a/vm.qcow2", "nbd:x"],
  ])("%s named by %s is %s", (name, from, expected) => {
    expect(resolveBackingName(name, from)).toBe(expected);
  });

  it.each([
    "nbd://host/x",
    'json:{"driver":"file"}',
    "http://host/x",
    "fat:rw:dir",
    "host_device:/dev/sda",
    "dir:with/colon",
  ])("refuses %s", (name) => {
    for (const resolve of [() => resolveBackingName(name, "vm.qcow2"), () => resolveDataFileName(name)]) {
      expect(resolve).toThrow(expect.toSatisfy((error) => isQcow2Error(error, "reference-denied")));
    }
  });
});

describe("resolveDataFileName", () => {
  it("leaves relative names to the working directory, as QEMU does", () => {
    expect(resolveDataFileName("data.raw")).toBe("data.raw");
    expect(resolveDataFileName("file:data.raw")).toBe("data.raw");
  });
});
