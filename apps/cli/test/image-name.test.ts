import type { SnapshotReference } from "@qcow2/core";
import { describe, expect, test } from "vitest";
import { combineNames } from "../src/disks/path-names.ts";
import { parseImageName } from "../src/options/image-name.ts";
import { parseSnapshotSelector, selectSnapshot } from "../src/options/snapshot-selector.ts";

const JSON_NAME = 'json:{"driver":"qcow2","file":{"driver":"file","filename":"a,b.qcow2","locking":"off"}}';

describe("image names", () => {
  test.each([
    ["disk.img", {}, { path: "disk.img", format: undefined, forceShare: false }],
    ["dir/a:b", { format: "raw" }, { path: "dir/a:b", format: "raw", forceShare: false }],
    ["file:disk.img", { forceShare: true }, { path: "disk.img", format: undefined, forceShare: true }],
    [JSON_NAME, {}, { path: "a,b.qcow2", format: "qcow2", forceShare: false, locking: false }],
    ["json:{'driver':'raw','file.filename':'x'}", {}, { path: "x", format: "raw", forceShare: false }],
    [
      "driver=qcow2,file.driver=file,file.filename=a,,b,l2-cache-size=1M,file.locking=auto",
      { imageOpts: true },
      { path: "a,b", format: "qcow2", forceShare: false },
    ],
    [
      "driver=raw,offset=1k,size=512,file.driver=raw,file.offset=4k,file.file.filename=x",
      { imageOpts: true },
      { path: "x", format: "raw", range: { offset: 5120, length: 512 } },
    ],
    [
      'json:{"driver":"qcow2","file":{"driver":"raw","size":1024,"file":{"driver":"file","filename":"x"}}}',
      {},
      { path: "x", format: "qcow2", range: { offset: 0, length: 1024 } },
    ],
    [
      "driver=qcow2,file.filename=x,backing.backing.driver=raw,backing.backing.file.filename=y",
      { imageOpts: true },
      { path: "x", backing: { backing: { path: "y", format: "raw" } } },
    ],
    [
      'json:{"driver":"qcow2","file.filename":"x","backing":null,"data-file.filename":"y"}',
      {},
      { path: "x", backing: "none", dataFile: "y" },
    ],
    ["driver=file,filename=x", { imageOpts: true }, { path: "x", format: "file" }],
    ["json:{'driver':'qcow2','file.filename':'x'}", { format: "raw" }, { path: "x", format: "raw" }],
    [
      "driver=qcow2,file.filename=x,cache.direct=on,overlap-check=all,overlap-check.main-header=off,read-only=on",
      { imageOpts: true },
      { cache: "none", overlapCheck: { template: "all", "main-header": false }, readOnly: true },
    ],
    ["file.filename=x,file.cache.no-flush=on", { imageOpts: true }, { path: "x", cache: "unsafe" }],
    [
      "file.filename=x,force-share=on",
      { imageOpts: true },
      { path: "x", format: undefined, forceShare: true },
    ],
  ])("%s", (given, options, expected) => {
    expect(parseImageName(given, options)).toMatchObject({ given, ...expected });
  });

  test.each([
    ["nbd://host/disk", {}, /Unknown protocol 'nbd'/],
    ["http://host/disk", {}, /Unknown protocol 'http'/],
    ["driver=qcow2", { imageOpts: true }, /A block device must be specified for "file"/],
    ["driver=qcow2,file.driver=file", { imageOpts: true }, /requires a file name/],
    ["x.qcow2", { imageOpts: true }, /Cannot find device='x.qcow2'/],
    ["x", { imageOpts: true, format: "raw" }, /mutually exclusive/],
    ["driver=nbd,host=x", { imageOpts: true }, /Driver 'nbd' is not supported/],
    [
      "driver=qcow2,file.driver=nbd,file.filename=x",
      { imageOpts: true },
      /Driver 'nbd' is not supported here/,
    ],
    [
      "driver=qcow2,offset=512,file.filename=x",
      { imageOpts: true },
      /'qcow2' does not support the option 'offset'/,
    ],
    ["driver=raw,size=1,file.filename=x", { imageOpts: true }, /not multiple of 512/],
    ["offset=512,file.filename=x", { imageOpts: true }, /'offset' needs driver/],
    [
      "driver=raw,size=1k,file.driver=raw,file.size=512,file.file.filename=x",
      { imageOpts: true },
      /sum of offset/,
    ],
    [
      "driver=raw,file.filename=x,backing.driver=raw",
      { imageOpts: true },
      /does not support the option 'backing'/,
    ],
    ["driver=qcow2,file.filename=x,backing=node0", { imageOpts: true }, /Cannot find device='node0'/],
    ["driver=qcow2,file.filename=x,backing.offset=1", { imageOpts: true }, /'offset' needs driver/],
    [
      "driver=qcow2,file.driver=qcow2,file.file.filename=x",
      { imageOpts: true },
      /within another is not supported/,
    ],
    ["driver=qcow2,file.filename=x,discard=some", { imageOpts: true }, /Invalid discard option/],
    ["driver=qcow2,file.filename=x,lazy-refcounts=some", { imageOpts: true }, /expects 'on' or 'off'/],
    ["driver=qcow2,file.filename=x,l2-cache-size=some", { imageOpts: true }, /non-negative number/],
    ["driver=qcow2,file.filename=x,file.aio=some", { imageOpts: true }, /invalid parameter value: some/],
    ["driver=qcow2,file.filename=x,force-share=off", { imageOpts: true, forceShare: true }, /conflicts/],
    ["json:{", {}, /Could not parse the JSON options/],
    ["json:[]", {}, /Invalid JSON object given/],
    ['json:{"driver":"qcow2","file.filename":null}', {}, /The value of 'filename' is not supported/],
    ['json:{"driver":"qcow2","file.filename":7}', {}, /requires a file name/],
  ])("%s is refused", (given, options, message) => {
    expect(() => parseImageName(given, options)).toThrow(message);
  });
});

test("names within an image are relative to it, and are not tidied up", () => {
  expect(combineNames("a.qcow2", "b.img")).toBe("b.img");
  expect(combineNames("dir/a.qcow2", "../b.img")).toBe("dir/../b.img");
  expect(combineNames("/x/a.qcow2", "sub/b.img")).toBe("/x/sub/b.img");
  expect(combineNames("dir/a.qcow2", "/b.img")).toBe("/b.img");
  expect(combineNames("dir/a.qcow2", "nbd:host:1")).toBe("nbd:host:1");
  expect(combineNames("dir/a.qcow2", "./c:d")).toBe("dir/./c:d");
});

describe("snapshot selectors", () => {
  const common = {
    vmStateSize: 0,
    dateSeconds: 0,
    dateNanoseconds: 0,
    vmClockNanoseconds: 0n,
    icount: undefined,
    diskSize: 0,
  };
  const snapshots = [
    { ...common, id: "1", name: "2" },
    { ...common, id: "2", name: "second" },
    { ...common, id: "3", name: "2" },
  ];
  const select = (text: string): SnapshotReference => selectSnapshot(snapshots, parseSnapshotSelector(text));

  test("an id goes before a name", () => {
    expect(select("2")).toEqual({ id: "2", name: "second" });
    expect(select("second")).toEqual({ id: "2", name: "second" });
    expect(select("snapshot.name=2")).toEqual({ id: "1", name: "2" });
    expect(select("snapshot.id=3,snapshot.name=2")).toEqual({ id: "3", name: "2" });
  });

  test.each(["none", "snapshot.id=1,snapshot.name=second", "snapshot.id=second"])(
    "%s is not there",
    (text) => {
      expect(() => select(text)).toThrow("Can't find snapshot");
    },
  );

  test("unknown members are refused", () => {
    expect(() => parseSnapshotSelector("snapshot.foo=1")).toThrow(/Failed in parsing snapshot param/);
  });
});
