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
    [JSON_NAME, {}, { path: "a,b.qcow2", format: "qcow2", forceShare: true }],
    ["json:{'driver':'raw','file.filename':'x'}", {}, { path: "x", format: "raw", forceShare: false }],
    [
      "driver=qcow2,file.driver=file,file.filename=a,,b,l2-cache-size=1M,file.locking=auto",
      { imageOpts: true },
      { path: "a,b", format: "qcow2", forceShare: false },
    ],
    [
      "file.filename=x,force-share=on",
      { imageOpts: true },
      { path: "x", format: undefined, forceShare: true },
    ],
  ])("%s", (given, options, expected) => {
    expect(parseImageName(given, options)).toEqual({ given, ...expected });
  });

  test.each([
    ["nbd://host/disk", {}, /Unknown protocol 'nbd'/],
    ["http://host/disk", {}, /Unknown protocol 'http'/],
    ["driver=qcow2", { imageOpts: true }, /'file.filename' is required/],
    ["x", { imageOpts: true, format: "raw" }, /mutually exclusive/],
    ["driver=nbd,host=x", { imageOpts: true }, /Driver 'nbd' is not supported/],
    [
      "driver=qcow2,file.driver=nbd,file.filename=x",
      { imageOpts: true },
      /Driver 'nbd' is not supported for 'file'/,
    ],
    ["driver=raw,offset=512,file.filename=x", { imageOpts: true }, /The option 'offset' is not supported/],
    [
      "driver=qcow2,file.filename=x,backing.driver=raw",
      { imageOpts: true },
      /'backing.driver' is not supported/,
    ],
    ["driver=qcow2,file.filename=x,force-share=off", { imageOpts: true, forceShare: true }, /conflicts/],
    ["json:{", {}, /Could not parse the JSON options/],
    ["json:[]", {}, /must be an object/],
    ['json:{"file.filename":null}', {}, /'file.filename' is not supported/],
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
  const select = (text: string): string => selectSnapshot(snapshots, parseSnapshotSelector(text));

  test("an id goes before a name", () => {
    expect(select("2")).toBe("2");
    expect(select("second")).toBe("2");
    expect(select("snapshot.name=2")).toBe("1");
    expect(select("snapshot.id=3,snapshot.name=2")).toBe("3");
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
