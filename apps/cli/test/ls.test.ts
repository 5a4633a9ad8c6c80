import { chmod, mkdir, open, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { stripVTControlCharacters } from "node:util";
import { FileStorage } from "@qcow2/node";
import { describe, expect, test } from "vitest";
import { COMMAND, runIn, runOnTerminal, type Workspace, whyNoTerminal, workspace } from "./run-command.ts";

/** Where the lowest byte of the incompatible features lies, and the encryption method (specification: "Header"). */
const FEATURES = 79;
const DIRTY = 1;
const CORRUPT = 2;
const CRYPT_METHOD = 35;

async function patch(path: string, offset: number, byte: number): Promise<void> {
  const file = await open(path, "r+");
  await file.write(Uint8Array.of(byte), 0, 1, offset);
  await file.close();
}

async function create(at: Workspace, name: string, ...options: string[]): Promise<void> {
  await at.succeed(
    "create",
    "-q",
    "-f",
    "qcow2",
    ...options,
    name,
    ...(options.includes("-b") ? [] : ["1G"]),
  );
}

async function createOverlay(
  at: Workspace,
  name: string,
  backing: string,
  ...options: string[]
): Promise<void> {
  await at.succeed("create", "-q", "-f", "qcow2", "-b", backing, "-F", "qcow2", ...options, name, "1G");
}

/** base <- web <- web-test, base <- db, and a raw disk that is called so. */
async function library(): Promise<Workspace> {
  const at = await workspace();
  await create(at, "base.qcow2");
  await createOverlay(at, "web.qcow2", "base.qcow2");
  await createOverlay(at, "db.qcow2", "base.qcow2");
  await createOverlay(at, "web-test.qcow2", "web.qcow2");
  await at.succeed("snapshot", "-c", "one", "web-test.qcow2");
  await at.succeed("bitmap", "--add", "web-test.qcow2", "changes");
  await writeFile(at.file("scratch.img"), Buffer.alloc(1024));
  await writeFile(at.file("notes.txt"), "no image");
  return at;
}

interface ListedImage {
  readonly filename: string;
  readonly depth: number;
  readonly health: string;
  readonly problems: readonly { readonly code: string; readonly severity: string }[];
  readonly [name: string]: unknown;
}

async function listed(at: Workspace, ...args: string[]): Promise<ListedImage[]> {
  const { stdout } = await at.qcow2("ls", "--output=json", ...args);
  return (JSON.parse(stdout) as { images: ListedImage[] }).images;
}

/** The words of a line, which are two spaces apart. */
function cells(line: string): string[] {
  return line.trim().split(/ {2,}/);
}

describe("ls", () => {
  test("draws the trees of backing chains, with what can be seen at a glance", async () => {
    const at = await library();
    const lines = (await at.succeed("ls")).split("\n");
    expect(cells(lines[0]!)).toEqual([
      "IMAGE",
      "FORMAT",
      "VIRTUAL",
      "DISK",
      "USED",
      "SNAPS",
      "BITMAPS",
      "FLAGS",
      "HEALTH",
    ]);
    const images = lines.slice(1, 6).map(cells);
    expect(images.map(([name]) => name)).toEqual([
      "base.qcow2",
      "├─ db.qcow2",
      "└─ web.qcow2",
      "└─ web-test.qcow2",
      "scratch.img",
    ]);
    expect(lines[4]).toMatch(/^ {3}└─ web-test.qcow2 +qcow2 v3 +1 GiB +\S+ KiB +<1% +1 +1 +ok$/);
    expect(lines[5]).toMatch(/^scratch.img +raw +1 KiB +\S+ K?i?B +\d+% +- +- +ok$/);
    expect(lines.slice(6, 7)).toEqual([""]);
    expect(lines[7]).toMatch(/^5 images in 2 trees, .* on disk$/);
    expect(lines).toHaveLength(9);
  });

  test("names what is wrong", async () => {
    const at = await library();
    await create(at, "marked.qcow2");
    await patch(at.file("marked.qcow2"), FEATURES, CORRUPT);
    await create(at, "open.qcow2");
    await patch(at.file("open.qcow2"), FEATURES, DIRTY);
    await create(at, "secret.qcow2");
    await patch(at.file("secret.qcow2"), CRYPT_METHOD, 1);
    await createOverlay(at, "orphan.qcow2", "gone.qcow2", "-u");
    await createOverlay(at, "snake.qcow2", "tail.qcow2", "-u");
    await createOverlay(at, "tail.qcow2", "snake.qcow2", "-u");
    const table = await at.succeed("ls");
    for (const pattern of [
      /^marked\.qcow2 .* corrupt +broken: marked as corrupt$/m,
      /^open\.qcow2 .* dirty +warning: was not closed properly$/m,
      /^secret\.qcow2 .* encrypted +ok$/m,
      /^gone\.qcow2 .* broken: missing\n└─ orphan\.qcow2 .* broken: its backing file 'gone\.qcow2' is missing$/m,
      /^snake\.qcow2 .* broken: its chain.* comes back to itself\n└─ tail\.qcow2 /m,
      /^11 images in 7 trees, .*; 4 broken, 1 missing, 1 warning$/m,
    ]) {
      expect(table).toMatch(pattern);
    }
  });

  test("prints JSON whose images are in the order of the trees", async () => {
    const at = await library();
    const images = await listed(at);
    expect(images.map(({ filename, depth }) => `${depth} ${filename}`)).toEqual([
      "0 base.qcow2",
      "1 db.qcow2",
      "1 web.qcow2",
      "2 web-test.qcow2",
      "0 scratch.img",
    ]);
    expect(images[3]).toMatchObject({
      listed: true,
      "backing-image": "web.qcow2",
      format: "qcow2",
      compat: "1.1",
      "virtual-size": 2 ** 30,
      "actual-size": expect.any(Number),
      "backing-filename": "web.qcow2",
      "backing-filename-format": "qcow2",
      snapshots: 1,
      bitmaps: 1,
      "dirty-flag": false,
      corrupt: false,
      encrypted: false,
      health: "good",
      problems: [],
    });
    await rm(at.file("web.qcow2"));
    expect((await listed(at)).find(({ filename }) => filename === "web-test.qcow2")).toMatchObject({
      health: "broken",
      problems: [
        { severity: "error", code: "backing-missing", message: expect.stringContaining("web.qcow2") },
      ],
    });
  });

  test("prints no JSON member that is not documented", async () => {
    const at = await library();
    await symlink("base.qcow2", at.file("link.qcow2"));
    await createOverlay(at, "orphan.qcow2", "gone.qcow2", "-u");
    const { stdout } = await at.qcow2("ls", "--check", "--output=json", ".", "nowhere");
    const document = await readFile(new URL("../README.md", import.meta.url), "utf8");
    const missing = new Set<string>();
    JSON.parse(stdout, (name, value: unknown) => {
      if (/^[a-z]/.test(name) && !document.includes(`\`${name}`)) missing.add(name);
      return value;
    });
    expect([...missing]).toEqual([]);
  });

  test("shows folders, files and what lies elsewhere by names that lead there", async () => {
    const at = await library();
    await mkdir(at.file("more/deep"), { recursive: true });
    await createOverlay(at, "more/mail.qcow2", "../base.qcow2");
    await create(at, "more/deep/inner.qcow2");
    const names = async (...args: string[]): Promise<string[]> => {
      const lines = (await at.succeed("ls", ...args)).split("\n").slice(1, -3);
      return lines.map((line) => cells(line)[0]!);
    };
    expect(await names("more")).toEqual(["../base.qcow2", "└─ mail.qcow2"]);
    expect(await names("-R", "more")).toEqual(["../base.qcow2", "└─ mail.qcow2", "deep/inner.qcow2"]);
    expect(await names("more", "notes.txt")).toEqual([
      "more/../base.qcow2",
      "└─ more/mail.qcow2",
      "notes.txt",
    ]);
    expect(await names("web.qcow2")).toEqual(["base.qcow2", "└─ web.qcow2"]);
    expect(await names("-a")).toContain("notes.txt");
    expect(await names("--follow=none", "more/mail.qcow2")).toEqual([
      "more/../base.qcow2",
      "└─ more/mail.qcow2",
    ]);
    expect((await listed(at, "--follow=none", "more"))[0]).toMatchObject({ health: "unknown" });
  });

  test("sorts by what is asked for", async () => {
    const at = await library();
    await at.succeed("create", "-q", "-f", "raw", "large.img", "9G");
    expect((await listed(at, "--sort=virtual"))[0]?.filename).toBe("large.img");
    expect((await listed(at, "--sort=virtual", "-r"))[0]?.filename).toBe("scratch.img");
    expect((await listed(at, "--sort=disk"))[0]?.filename).toBe("base.qcow2");
    expect(await at.qcow2("ls", "--sort=colour")).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/--sort expects name/),
    });
  });

  test("a name from an image cannot reach the terminal as control characters", async () => {
    const at = await workspace();
    await createOverlay(at, "top.qcow2", "\u001b[31mred\n.qcow2", "-u");
    const table = await at.succeed("ls");
    expect(table).toContain("\\x1b[31mred\\x0a.qcow2");
    expect(table).not.toContain("\u001b");
  });
});

describe("exit codes of ls", () => {
  test("0 whatever is found, unless asked to tell", async () => {
    const at = await library();
    await createOverlay(at, "orphan.qcow2", "gone.qcow2", "-u");
    expect((await at.qcow2("ls")).exitCode).toBe(0);
    expect((await at.qcow2("ls", "-e")).exitCode).toBe(2);
    await rm(at.file("orphan.qcow2"));
    expect((await at.qcow2("ls", "-e")).exitCode).toBe(0);
    await patch(at.file("db.qcow2"), FEATURES, DIRTY);
    expect((await at.qcow2("ls", "-e")).exitCode).toBe(3);
  });

  test("--check reads everything, and tells", async () => {
    const at = await library();
    expect(await at.qcow2("ls", "--check")).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/web\.qcow2 .* clean\n/),
    });
    // Refcounts of the first clusters, which lie in the third one.
    await patch(at.file("db.qcow2"), 2 * 65536 + 1, 0);
    expect((await at.qcow2("ls", "-e")).exitCode).toBe(0);
    const checked = await at.qcow2("ls", "--check");
    expect(checked).toMatchObject({
      exitCode: 2,
      stdout: expect.stringMatching(/db\.qcow2 .* broken: \d+ errors? in the metadata\n/),
    });
    const json = await at.qcow2("ls", "--check", "--output=json");
    expect(json.exitCode).toBe(2);
    expect(JSON.parse(json.stdout).images[1]).toMatchObject({ check: { corruptions: expect.any(Number) } });
  });

  test("an image that is in use is not checked, which is a warning", async ({ skip }) => {
    const at = await library();
    await using writer = await FileStorage.open(at.file("db.qcow2"));
    if (writer.useByOthers() === undefined) skip("no image locks here");
    expect(await at.qcow2("ls", "--check")).toMatchObject({
      exitCode: 3,
      stdout: expect.stringMatching(/db\.qcow2 .* in use +warning: not checked: in use by another process\n/),
    });
  });

  test("1 for a folder that cannot be read, with what could be", async () => {
    const at = await library();
    const outcome = await at.qcow2("ls", "nowhere", "web.qcow2");
    expect(outcome.exitCode).toBe(1);
    expect(outcome.stderr).toBe("qcow2: Could not open 'nowhere': No such file or directory\n");
    expect(outcome.stdout).toContain("web.qcow2");
    expect(await at.qcow2("ls", "nowhere", "-e")).toMatchObject({ exitCode: 1, stdout: "" });
  });

  test("an empty folder has no images", async () => {
    const at = await workspace();
    expect(await at.qcow2("ls")).toMatchObject({ exitCode: 0, stdout: "No images.\n" });
    expect(await listed(at)).toEqual([]);
  });

  test.skipIf(process.getuid?.() === 0 || process.platform === "win32")(
    "an image that may not be read is broken",
    async () => {
      const at = await library();
      await chmod(at.file("db.qcow2"), 0);
      expect(await at.qcow2("ls", "-e")).toMatchObject({
        exitCode: 2,
        stdout: expect.stringMatching(/db\.qcow2 .*ermission denied/),
      });
    },
  );
});

const noTerminal = await whyNoTerminal();
describe.skipIf(noTerminal !== undefined)(
  `ls on a terminal${noTerminal === undefined ? "" : ` (${noTerminal})`}`,
  () => {
    const ESCAPE = "\u001b[";

    test("has colours, and is otherwise what goes into a pipe", async () => {
      const at = await library();
      await createOverlay(at, "orphan.qcow2", "gone.qcow2", "-u");
      const { stdout: piped } = await at.start("ls");
      expect(piped).not.toContain(ESCAPE);
      const { stdout: shown } = await runOnTerminal(at.folder, ["ls"]);
      expect(stripVTControlCharacters(shown)).toBe(piped);
      expect(shown).toContain(`${ESCAPE}32mok${ESCAPE}39m\n`);
      expect(shown).toContain(`${ESCAPE}31mbroken: missing`);
    });

    test("has none if the environment says so, or if it is called qemu-img", async () => {
      const at = await library();
      for (const env of [{ NO_COLOR: "1" }, { TERM: "dumb" }, { FORCE_COLOR: "0" }]) {
        expect((await runOnTerminal(at.folder, ["ls"], { env })).stdout).not.toContain(ESCAPE);
      }
      const forced = await runOnTerminal(at.folder, ["ls"], { env: { TERM: "dumb", FORCE_COLOR: "1" } });
      expect(forced.stdout).toContain(ESCAPE);
      await symlink(COMMAND, at.file("qemu-img"));
      const linked = { command: at.file("qemu-img") };
      expect((await runOnTerminal(at.folder, ["ls"], linked)).stdout).not.toContain(ESCAPE);
    });

    test("a pipe stays plain although colours are forced", async () => {
      const at = await library();
      const before = process.env.FORCE_COLOR;
      process.env.FORCE_COLOR = "1";
      try {
        expect((await runIn(at.folder, ["ls"])).stdout).not.toContain(ESCAPE);
      } finally {
        if (before === undefined) delete process.env.FORCE_COLOR;
        else process.env.FORCE_COLOR = before;
      }
    });
  },
);
