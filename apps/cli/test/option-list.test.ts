import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CreationOptions, creationOptionsHelp } from "../src/options/creation-options.ts";
import { asksForHelp, escapeValue, joinOptionLists, parseOptionList } from "../src/options/option-list.ts";

describe("option lists", () => {
  test("split at single commas; doubled ones belong to the value", () => {
    expect(parseOptionList("a=1,b=x,,y,c=,,,d=z=w")).toEqual([
      { name: "a", value: "1" },
      { name: "b", value: "x,y" },
      { name: "c", value: "," },
      { name: "d", value: "z=w" },
    ]);
  });

  test("read names without a value as switches", () => {
    expect(parseOptionList("lazy_refcounts,noextended_l2")).toEqual([
      { name: "lazy_refcounts", value: "on" },
      { name: "extended_l2", value: "off" },
    ]);
  });

  test("give back what was escaped, whatever the value", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (values) => {
        const list = values.map((value, index) => `n${index}=${escapeValue(value)}`).join(",");
        expect(parseOptionList(list).map(({ value }) => value)).toEqual(values);
      }),
    );
  });

  test("are joined only if neither changes the other's meaning", () => {
    expect(joinOptionLists(["a=1", "b=2,,"])).toBe("a=1,b=2,,");
    for (const list of ["", ",a=1", "a=1,", "a=1,,,"]) {
      expect(() => joinOptionLists(["b=1", list])).toThrow(`Invalid option list: ${list}`);
    }
  });

  test("ask for help by name only", () => {
    expect(asksForHelp("help")).toBe(true);
    expect(asksForHelp("cluster_size=4k,?")).toBe(true);
    expect(asksForHelp("backing_file=help")).toBe(false);
  });
});

describe("creation options", () => {
  test("print as qemu-img prints them: its order, its defaults, numbers in full, strings as given", () => {
    const options = CreationOptions.parse("qcow2", "size=1M,compat=v2,cluster_size=4k,backing_file=a,,b");
    expect(String(options)).toBe(
      "cluster_size=4096 extended_l2=off compression_type=zlib size=1048576 compat=v2 backing_file=a,,b " +
        "lazy_refcounts=off refcount_bits=16",
    );
    expect(String(CreationOptions.parse("raw", "size=1.5k"))).toBe("size=1536");
  });

  test("the last of a repeated option counts", () => {
    expect(CreationOptions.parse("qcow2", "cluster_size=4k,cluster_size=8k").number("cluster_size")).toBe(
      8192,
    );
  });

  test.each([
    ["qcow2", "foo=1", "Invalid parameter 'foo'"],
    ["qcow2", "lazy_refcounts=maybe", "Parameter 'lazy_refcounts' expects 'on' or 'off'"],
    ["qcow2", "refcount_bits=x", "Parameter 'refcount_bits' expects a number"],
    ["qcow2", "encrypt.format=luks", "Encryption is not supported yet"],
    ["qcow2", "encryption=on", "Encryption is not supported yet"],
    ["raw", "cluster_size=64k", "Invalid parameter 'cluster_size'"],
    ["vmdk", undefined, "Writing the format 'vmdk' is not supported (use qcow2 or raw)"],
    ["bogus", undefined, "Unknown file format 'bogus'"],
  ])("refuse -f %s -o %s", (format, list, message) => {
    expect(() => CreationOptions.parse(format, list)).toThrow(message);
  });

  test("switching an unsupported thing off is no error", () => {
    expect(CreationOptions.parse("qcow2", "encryption=off,nocow=off").switch("encryption")).toBe(false);
  });

  test("raw has no backing file", () => {
    const options = CreationOptions.parse("raw", undefined);
    expect(() => options.setBacking("base", undefined)).toThrow(
      "Backing file not supported for file format 'raw'",
    );
  });

  test("help names every option once, in alphabetical order", () => {
    const names = creationOptionsHelp("qcow2", true)
      .split("\n")
      .flatMap(
        (line) => /^ {2}([a-z0-9_.-]+)=<(?:str|size|num|bool \(on\/off\))> +- \S/.exec(line)?.[1] ?? [],
      );
    expect(names).toEqual([...new Set(names)].sort());
    expect(names).toEqual(expect.arrayContaining(["backing_file", "cluster_size", "data_file_raw", "size"]));
  });
});
