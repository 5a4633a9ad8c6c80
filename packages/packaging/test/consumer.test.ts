import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { expect, inject, it, onTestFinished } from "vitest";
import { compile, installGlobally } from "../src/consumer.ts";
import { type Manifest, REPOSITORY } from "../src/published-packages.ts";

const consumer = inject("consumer");

/** Uses all three libraries: create, write, convert with compression, check, compare, read back. */
const ROUND_TRIP = `
import { compareDisks, convertDisk } from "@qcow2/convert";
import { denyReferences, isQcow2Error, Qcow2Image, RawDisk } from "@qcow2/core";
import { FileStorage, nodeCodecs, openDisk } from "@qcow2/node";

const size = 64 * 2 ** 20 + 512;
const pattern = Uint8Array.from({ length: 300_000 }, (_, index) => (index * 7) % 251);

await using codecs = nodeCodecs({ threads: 2 });
await using source = await RawDisk.open({ storage: await FileStorage.open("consumer.raw", { create: true }), size });
await source.write({ offset: 12_345, from: pattern });
await source.write({ offset: size - 512, from: pattern.subarray(0, 512) });
await source.flush();

const storage = await FileStorage.open("consumer.qcow2", { create: true });
{
  await using target = await Qcow2Image.create({ storage, size, clusterSize: 32768, codecs });
  await convertDisk({ source, target, targetIsZero: true, compress: true, clusterSize: 32768 });
  await target.flush();
}

await using image = await openDisk({ path: "consumer.qcow2", readOnly: true, codecs });
const comparison = await compareDisks({ first: source, second: image });
const readBack = new Uint8Array(pattern.length);
await image.read({ offset: 12_345, into: readBack });
let compressed = 0;
for await (const extent of image.map()) if (extent.compressed) compressed += extent.length;

await using again = await Qcow2Image.open({
  storage: await FileStorage.open("consumer.qcow2", { readOnly: true }),
  references: denyReferences(),
  codecs,
});
const check = await again.check();
let refused: string | undefined;
try {
  await image.read({ offset: size, into: readBack });
} catch (error) {
  if (isQcow2Error(error, "out-of-range")) refused = \`out of range: \${error.data.size}\`;
}
console.log(JSON.stringify({
  size: image.size,
  identical: comparison.identical,
  readBack: Buffer.compare(readBack, pattern),
  compressed,
  corruptions: check.corruptions,
  leaks: check.leaks,
  refused,
}));
`;

/** The core alone, in memory, for a platform without Node's types. */
const BROWSER = `
import { MemoryStorage, Qcow2Image } from "@qcow2/core";

const storage = new MemoryStorage();
const image = await Qcow2Image.create({ storage, size: 1048576 });
await image.write({ offset: 4096, from: new TextEncoder().encode("hello") });
await image.flush();
const into = new Uint8Array(5);
await image.read({ offset: 4096, into });
console.log(image.info().clusterSize, new TextDecoder().decode(into));
await image.close();
`;

it("a strict TypeScript project with Node's types compiles against the packages and runs a round trip", async () => {
  const folder = join(consumer, "round-trip");
  await compile(folder, { "round-trip.ts": ROUND_TRIP }, { host: "node" });
  const { stdout } = await execa(process.execPath, ["out/round-trip.js"], { cwd: folder, stdin: "ignore" });
  expect(JSON.parse(stdout)).toEqual({
    size: 64 * 2 ** 20 + 512,
    identical: true,
    readBack: 0,
    // The clusters of 32 KiB that hold the pattern (300,000 bytes from 12,345), and the sector in the last, short one.
    compressed: 10 * 32768 + 512,
    corruptions: 0,
    leaks: 0,
    refused: `out of range: ${64 * 2 ** 20 + 512}`,
  });
});

it("a project with only the web's types compiles against the core and runs it in memory", async () => {
  const folder = join(consumer, "browser");
  await compile(folder, { "browser.ts": BROWSER }, { host: "browser" });
  const { stdout } = await execa(process.execPath, ["out/browser.js"], { cwd: folder, stdin: "ignore" });
  expect(stdout).toBe("65536 hello");
});

it("a type error in a use of the packages is found", async () => {
  const wrong = `import { Qcow2Image } from "@qcow2/core";\nexport const image: number = Qcow2Image;\n`;
  const compiling = compile(join(consumer, "wrong"), { "wrong.ts": wrong }, { host: "browser" });
  await expect(compiling).rejects.toMatchObject({ stdout: expect.stringContaining("TS2322") });
});

it("the installed command runs by its name", async () => {
  const { version } = JSON.parse(readFileSync(join(REPOSITORY, "apps/cli/package.json"), "utf8")) as Manifest;
  const options = { cwd: consumer, preferLocal: true, localDir: consumer, stdin: "ignore" } as const;
  expect((await execa("qcow2", ["--version"], options)).stdout).toContain(`(qcow2 ${version})`);
  await execa("qcow2", ["create", "-f", "qcow2", "by-name.qcow2", "1G"], options);
  const { stdout } = await execa("qcow2", ["info", "--output=json", "by-name.qcow2"], options);
  expect(JSON.parse(stdout)).toMatchObject({ format: "qcow2", "virtual-size": 2 ** 30 });
  expect((await execa("qcow2", ["check", "by-name.qcow2"], options)).stdout).toContain(
    "No errors were found",
  );
});

it.skipIf(process.platform === "win32")(
  "npm install -g installs the command, and its manual page for man",
  async () => {
    const prefix = mkdtempSync(join(tmpdir(), "qcow2-global-"));
    onTestFinished(() => rmSync(prefix, { recursive: true, force: true }));
    await installGlobally(prefix, inject("tarballs"));
    expect((await execa(join(prefix, "bin/qcow2"), ["--version"])).stdout).toMatch(/\(qcow2 \d/);
    expect(readFileSync(join(prefix, "share/man/man1/qcow2.1"), "utf8")).toMatch(/^\.SH NAME$/m);
  },
);

it("the command's files are enough by themselves: compression on threads included", async () => {
  const folder = mkdtempSync(join(tmpdir(), "qcow2-alone-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(join(consumer, "node_modules/qcow2"), join(folder, "package"), { recursive: true });
  writeFileSync(join(folder, "disk.raw"), "some content\n".repeat(100_000));
  const qcow2 = (...args: string[]) =>
    execa(process.execPath, [join(folder, "package/bin/qcow2.cjs"), ...args], {
      cwd: folder,
      stdin: "ignore",
    });
  await qcow2("convert", "-c", "-m", "2", "-O", "qcow2", "disk.raw", "disk.qcow2");
  expect(statSync(join(folder, "disk.qcow2")).size).toBeLessThan(500_000);
  expect((await qcow2("compare", "disk.raw", "disk.qcow2")).stdout).toBe("Images are identical.");
  expect((await qcow2("info", "disk.qcow2")).stdout).toContain("file format: qcow2");
});
