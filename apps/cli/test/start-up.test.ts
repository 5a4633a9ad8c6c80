/** What is loaded for a short command, because loading is most of what it costs. The bundle is meant, not the sources. */
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { describe, expect, test } from "vitest";
import { COMMANDS } from "../src/commands.ts";
import { COMMAND, workspace } from "./run-command.ts";

const DIST = path.join(import.meta.dirname, "../dist");

const require = createRequire(import.meta.url);
const nativeKoffi = findNativeKoffi();

/** Undefined where there is no koffi for this platform. */
function findNativeKoffi(): unknown {
  try {
    return require(`@koromix/koffi-${process.platform}-${process.arch}`);
  } catch {
    return undefined;
  }
}

/** The modules of a process: Node.js's own as "node:...", the bundle's files by their names without the hash. */
async function loadedBy(cwd: string, args: readonly string[]): Promise<ReadonlySet<string>> {
  const folder = path.join(cwd, `coverage-${args[0]}`);
  await execa(process.execPath, [COMMAND, ...args], { cwd, env: { NODE_V8_COVERAGE: folder } });
  const [report, ...more] = await readdir(folder);
  expect(more, "a process of one thread").toEqual([]);
  const { result } = JSON.parse(await readFile(path.join(folder, report!), "utf8")) as {
    readonly result: readonly { readonly url: string }[];
  };
  return new Set(result.map(({ url }) => moduleName(url)));
}

function moduleName(url: string): string {
  if (!url.startsWith("file:")) return url;
  const file = fileURLToPath(url);
  return path.dirname(file) === DIST ? path.basename(file).replace(/(-[\w-]{8})?\.cjs$/, "") : file;
}

describe("qcow2 info", () => {
  test("loads nothing of other commands, of the engine, or of what they need", async () => {
    const at = await workspace();
    await at.succeed("create", "-q", "-f", "qcow2", "disk.qcow2", "1M");
    const ofInfo = await loadedBy(at.folder, ["info", "disk.qcow2"]);
    expect(ofInfo).toContain("describe");
    const others = Object.keys(COMMANDS).filter((name) => name !== "info");
    const modules = ["node:worker_threads", "node:zlib", "node:crypto", "node:internal/readline/interface"];
    const unwanted = [
      ...others,
      "checking",
      "engine",
      "common",
      "codec-worker",
      "codec-worker-parts",
      ...modules,
    ];
    expect(unwanted.filter((name) => ofInfo.has(name))).toEqual([]);
    // The names are those that a command has which does need such things.
    const ofCompare = await loadedBy(at.folder, ["compare", "disk.qcow2", "disk.qcow2"]);
    const needed = ["compare", "checking", "engine", "node:zlib", "node:worker_threads"];
    expect(needed.filter((name) => !ofCompare.has(name))).toEqual([]);
    const ofCheck = await loadedBy(at.folder, ["check", "disk.qcow2"]);
    expect([...needed, "common"].filter((name) => ofCheck.has(name))).toEqual(["checking"]);
  });

  // Pipes of Windows are written to by streams only.
  test.skipIf(process.platform === "win32")("makes no stream of its output in a pipe", async () => {
    const at = await workspace();
    await at.succeed("create", "-q", "-f", "qcow2", "disk.qcow2", "1M");
    expect(await loadedBy(at.folder, ["info", "disk.qcow2"])).not.toContain("node:net");
  });
});

describe("the bundle", () => {
  test("has each file that one of its files names, and no other", async () => {
    const files = (await readdir(DIST)).filter((name) => name.endsWith(".cjs"));
    const texts = await Promise.all(files.map((name) => readFile(path.join(DIST, name), "utf8")));
    const named = texts.flatMap((text) =>
      [...text.matchAll(/(?:require\("\.\/|new URL\(")([\w-]+\.cjs)"/g)].map((match) => match[1]!),
    );
    expect([...new Set(["run.cjs", ...named])].sort()).toEqual(files.sort());
    // What the bundler puts where a file's name will be.
    expect(files.filter((_, index) => texts[index]!.includes("!~{"))).toEqual([]);
  });

  test("says whose code it holds", async () => {
    const notices = await readFile(path.join(DIST, "THIRD-PARTY-NOTICES.txt"), "utf8");
    for (const name of ["cli-progress", "string-width"]) {
      expect(notices).toMatch(new RegExp(`^${name} \\d[\\d.]* \\(\\w+\\)\n\n.*Copyright`, "ms"));
    }
  });

  // Where there is no koffi for the platform, there is nothing to compare.
  test.skipIf(nativeKoffi === undefined)("takes of koffi the object that koffi itself is", () => {
    const koffi: { readonly default: unknown } = require("koffi");
    expect(koffi.default).toBe(nativeKoffi);
    expect(require("../bundle/koffi-entry.cjs")).toBe(nativeKoffi);
  });
});
