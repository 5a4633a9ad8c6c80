/**
 * What qemu-img destroys without a word, or with a general one: ours says what would be lost, and does nothing unless it
 * is told to. Called as qemu-img, so that scripts go on working, it does what that does, after a warning.
 */
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { makeCaseImages } from "../src/options/case-images.ts";
import { imagesFor } from "../src/options/test-cases.ts";
import { tryOurs, tryOursAsQemuImg } from "../src/ours.ts";
import { describeConformance } from "../src/requires.ts";
import { expectSameFiles } from "../src/same-files.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "losses: told before, and nothing done";

/** How many KiB depends on the holes of the file, which a copy may not have kept: at least 100 are data. */
const AT_LEAST = 100;

interface Loss {
  readonly words: readonly string[];
  /** The image that would lose. */
  readonly image: string;
  /** What the refusal says. */
  readonly says: RegExp;
  /** What allows it; undefined where nothing does but saying exactly what is meant. */
  readonly forced: readonly string[] | undefined;
}

const LOSSES: readonly Loss[] = [
  {
    words: ["resize", "base", "512k"],
    image: "base",
    says: /--shrink.*behind the new end, where \d+ KiB are stored/,
    forced: ["--shrink"],
  },
  {
    words: ["resize", "base", "-64k"],
    image: "base",
    says: /--shrink.*behind the new end, where nothing is stored/,
    forced: ["--shrink"],
  },
  {
    words: ["resize", "-f", "raw", "raw", "512k"],
    image: "raw",
    says: /--shrink.*behind the new end, where \d+ KiB are stored/,
    forced: ["--shrink"],
  },
  {
    words: ["amend", "-o", "size=512k", "base"],
    image: "base",
    says: /smaller than the image's 1048576.*\d+ KiB are stored.*--force/,
    forced: ["--force"],
  },
  {
    words: ["amend", "-o", "compat=0.10", "bitmaps"],
    image: "bitmaps",
    says: /no persistent bitmaps: '(followed|still)', '(followed|still)' would be lost.*--force/,
    forced: ["--force"],
  },
  {
    words: ["commit", "overlay"],
    image: "base",
    says: /'s\w+'( and 's\w+')?,? .*reads? 'base' as well, and would have other content.*--force/,
    forced: ["--force"],
  },
  {
    words: ["commit", "snapped"],
    image: "base",
    says: /internal snapshot 'before' of 'snapped' reads the backing file.*--force/,
    forced: ["--force"],
  },
  {
    words: ["commit", "-b", "base", "above"],
    image: "base",
    says: /internal snapshot 'before' of 'snapped' reads the backing file.*--force/,
    forced: ["--force"],
  },
  {
    words: ["rebase", "-b", "", "snapped"],
    image: "snapped",
    says: /internal snapshot 'before' of 'snapped' reads the backing file.*--force/,
    forced: ["--force"],
  },
  {
    words: ["rebase", "-b", "sibling", "-F", "qcow2", "snapped"],
    image: "snapped",
    says: /internal snapshot 'before' of 'snapped' reads the backing file.*--force/,
    forced: ["--force"],
  },
  {
    words: ["snapshot", "-d", "1", "snaps"],
    image: "snaps",
    says: /'1' is ambiguous: it could be snapshot 1 \('one'\) or snapshot 3 \('1'\)/,
    forced: undefined,
  },
  {
    words: ["snapshot", "-a", "1", "snaps"],
    image: "snaps",
    says: /'1' is ambiguous: it could be snapshot 1 \('one'\) or snapshot 3 \('1'\)/,
    forced: undefined,
  },
  {
    words: ["convert", "-l", "1", "-O", "raw", "snaps", "out"],
    image: "snaps",
    says: /'1' is ambiguous: it could be snapshot 1 \('one'\) or snapshot 3 \('1'\)/,
    forced: undefined,
  },
  {
    words: ["snapshot", "-d", "twice", "twins"],
    image: "twins",
    says: /'twice' is ambiguous: it could be snapshot 1 \('twice'\) or snapshot 2 \('twice'\)/,
    forced: undefined,
  },
];

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  const images = imagesFor(async (cwd) => {
    await makeCaseImages(cwd, qemu);
    await qemu.img(["create", "-q", "-f", "qcow2", "twins", "1M"], { cwd });
    await qemu.img(["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "snapped"], { cwd });
    await qemu.img(["snapshot", "-c", "before", "snapped"], { cwd });
    await qemu.io("snapped", ["write -P 77 0 64k"], { cwd });
    await qemu.img(["create", "-q", "-f", "qcow2", "-b", "snapped", "-F", "qcow2", "above"], { cwd });
    for (const name of ["twice", "twice"]) await qemu.img(["snapshot", "-c", name, "twins"], { cwd });
  });
  const benchOf = (...names: readonly string[]): Workbench => {
    const bench = new Workbench("losses");
    for (const name of names) copyFileSync(join(images, name), bench.path(name));
    return bench;
  };
  const ALL = ["base", "raw", "bitmaps", "overlay", "sibling", "snaps", "twins", "snapped", "above"];

  it.each(LOSSES)("$words", async ({ words, image, says, forced }) => {
    using bench = benchOf(...ALL);
    const cwd = bench.folder;
    const refused = await tryOurs(words, { cwd });
    expect(refused).toMatchObject({ exitCode: 1, stdout: "" });
    expect(refused.stderr).toMatch(says);
    const stored = /(\d+) KiB are stored/.exec(refused.stderr)?.[1];
    if (stored !== undefined) expect(Number(stored)).toBeGreaterThanOrEqual(AT_LEAST);
    expectSameFiles(bench.path(image), join(images, image));
    if (forced === undefined) return;
    const [command = "", ...rest] = words;
    expect(await tryOurs([command, ...forced, ...rest], { cwd })).toMatchObject({ exitCode: 0, stderr: "" });
    if (image !== "raw") await qemu.img(["check", "-q", image], { cwd });
    caseRan(GROUP, qemu.version);
  });

  it.each([
    [["amend", "-o", "size=512k", "base"], /^qemu-img: warning: .*where \d+ KiB are stored\n$/],
    [["amend", "-o", "compat=0.10", "bitmaps"], /^qemu-img: warning: .*would be lost\n$/],
    [["commit", "-d", "overlay"], /^qemu-img: warning: '.*sibling.* reads? 'base' as well/],
    [["commit", "-d", "snapped"], /^qemu-img: warning: the internal snapshot 'before' of 'snapped' reads/],
    [
      ["rebase", "-b", "", "snapped"],
      /^qemu-img: warning: the internal snapshot 'before' of 'snapped' reads/,
    ],
    [
      ["snapshot", "-d", "twice", "twins"],
      /^qemu-img: warning: 2 snapshots are called 'twice' \(1, 2\); 1 is/,
    ],
    [["snapshot", "-d", "1", "snaps"], /^$/],
    [["snapshot", "-a", "1", "snaps"], /^qemu-img: warning: '1' is ambiguous: .* the first is taken\n$/],
  ])("called as qemu-img: %j is done after a warning (ledger 15)", async (words, warning) => {
    using ours = benchOf(...ALL);
    using theirs = benchOf(...ALL);
    const expected = await qemu.tryImg(words, { cwd: theirs.folder });
    const actual = await tryOursAsQemuImg(words, { cwd: ours.folder });
    expect({ exitCode: actual.exitCode, stdout: actual.stdout }).toEqual({
      exitCode: expected.exitCode,
      stdout: expected.stdout,
    });
    expect(expected).toMatchObject({ exitCode: 0, stderr: "" });
    expect(actual.stderr).toMatch(warning);
    const name = words[0] === "commit" ? "base" : (words.at(-1) as string);
    await qemu.img(["check", "-q", name], { cwd: ours.folder });
    await qemu.img(["compare", "-s", ours.path(name), theirs.path(name)]);
    const [left, right] = await Promise.all(
      [ours, theirs].map(({ folder: cwd }) => qemu.img(["snapshot", "-l", name], { cwd })),
    );
    expect(left?.stdout).toBe(right?.stdout);
    caseRan(GROUP, qemu.version);
  });
});
