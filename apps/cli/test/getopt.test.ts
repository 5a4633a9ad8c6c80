import { describe, expect, test } from "vitest";
import { OptionError } from "../src/errors/command-errors.ts";
import { getopt, type OptionSpec } from "../src/options/getopt.ts";

const TABLE: Readonly<
  Record<"format" | "options" | "progress" | "quiet" | "imageOpts" | "output", OptionSpec>
> = {
  format: { short: "f", long: "format", value: "FMT", help: "" },
  options: { short: "o", long: "options", value: "LIST", help: "" },
  progress: { short: "p", long: "progress", help: "" },
  quiet: { short: "q", help: "" },
  imageOpts: { long: "image-opts", help: "" },
  output: { long: "output", value: "FORM", help: "" },
};

function scan(...argv: string[]) {
  const result = getopt(argv, TABLE);
  if (result.kind === "help") throw new Error("help");
  return result.parsed;
}

describe("getopt", () => {
  test("reads groups of short options, the last with its value attached or next", () => {
    expect(scan("-pqfraw").value("format")).toBe("raw");
    expect(scan("-pqf", "raw", "a").operands).toEqual(["a"]);
    expect(scan("-pq").has("progress")).toBe(true);
    expect(scan("-pq").has("quiet")).toBe(true);
  });

  test("reads options after operands, and nothing after --", () => {
    const parsed = scan("a", "-f", "raw", "b", "--", "-p", "--", "-");
    expect(parsed.operands).toEqual(["a", "b", "-p", "--", "-"]);
    expect(parsed.value("format")).toBe("raw");
    expect(parsed.has("progress")).toBe(false);
  });

  test("takes whatever comes next as a value, dashes too", () => {
    expect(scan("-f", "-p").value("format")).toBe("-p");
    expect(scan("--output", "--").value("output")).toBe("--");
    expect(scan("--output=", "a").value("output")).toBe("");
  });

  test("keeps a lone dash as an operand", () => {
    expect(scan("-").operands).toEqual(["-"]);
  });

  test("accepts long names cut short where only one fits, exact names always", () => {
    expect(scan("--out", "json").value("output")).toBe("json");
    expect(scan("--form=raw").value("format")).toBe("raw");
    expect(scan("--image").has("imageOpts")).toBe(true);
    expect(() => scan("--o", "x")).toThrow(/ambiguous.*--options.*--output/);
  });

  test("keeps all values of a repeated option, and answers with the last", () => {
    const parsed = scan("-o", "a", "-ob", "--options=c");
    expect(parsed.values("options")).toEqual(["a", "b", "c"]);
    expect(parsed.value("options")).toBe("c");
    expect(parsed.value("format")).toBeUndefined();
  });

  test.each([
    [["-x"], "invalid option -- 'x'"],
    [["-px"], "invalid option -- 'x'"],
    [["--bogus=1"], "unrecognized option '--bogus'"],
    [["-f"], "option requires an argument -- 'f'"],
    [["--output"], "option '--output' requires an argument"],
    [["--progress=1"], "option '--progress' doesn't allow an argument"],
  ])("refuses %j", (argv, message) => {
    expect(() => scan(...argv)).toThrow(new OptionError(message));
  });

  test("stops at help, before later mistakes and after earlier ones", () => {
    expect(getopt(["-h", "--bogus"], TABLE).kind).toBe("help");
    expect(getopt(["-ph"], TABLE).kind).toBe("help");
    expect(() => getopt(["--bogus", "-h"], TABLE)).toThrow(OptionError);
  });
});
