/**
 * The demonstration behind `npm start`: a disk goes raw -> compressed qcow2 -> raw through the command, and both raw
 * files are compared. The exit code is 0 only if they are identical.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runQcow2 } from "./command.ts";
import { DISK_BYTES, writeDemoDisk } from "./disk/demo-disk.ts";
import { formatBytes, sha256, sizes } from "./file-facts.ts";
import { drawMap, type MapEntry } from "./map-drawing.ts";

const SEED = 20240301;
const FOLDER_IN_REPOSITORY = ".cache/demo";
const FOLDER = fileURLToPath(new URL(`../../../${FOLDER_IN_REPOSITORY}`, import.meta.url));
const MAP_ROWS = 8;

/** Runs one step of the demonstration, shows it with its time, and gives its output. */
async function step(args: readonly string[]): Promise<string> {
  const { exitCode, stdout, seconds } = await runQcow2(args, FOLDER);
  console.log(`  ${`qcow2 ${args.join(" ")}`.padEnd(58)} ${seconds.toFixed(1).padStart(5)} s`);
  if (exitCode === 0) return stdout;
  console.log(stdout);
  throw new Error(`qcow2 ${args[0]} ended with exit code ${exitCode}`);
}

async function demonstrate(): Promise<boolean> {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  const started = performance.now();
  const disk = writeDemoDisk(join(FOLDER, "disk.raw"), SEED);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `\nMade a disk in ${seconds} s: a partition table, a FAT32 file system with ${disk.files} files`,
  );
  console.log(
    `(${formatBytes(disk.fileBytes)}), the remains of ${disk.deletedFiles} deleted ones, a swap partition.\n`,
  );

  await step(["convert", "-c", "-O", "qcow2", "disk.raw", "disk.qcow2"]);
  const check = await step(["check", "disk.qcow2"]);
  await step(["convert", "-O", "raw", "disk.qcow2", "round-trip.raw"]);
  const comparison = await step(["compare", "disk.raw", "round-trip.raw"]);
  const map = await step(["map", "--output=json", "disk.qcow2"]);

  console.log(`\n  disk.raw        ${sizes(join(FOLDER, "disk.raw"))}`);
  console.log(`  disk.qcow2      ${sizes(join(FOLDER, "disk.qcow2"))}`);
  console.log(`  round-trip.raw  ${sizes(join(FOLDER, "round-trip.raw"))}`);

  const drawing = drawMap(JSON.parse(map) as readonly MapEntry[], DISK_BYTES, MAP_ROWS);
  const unit = formatBytes(drawing.bytesPerCharacter);
  console.log(`\nMap of disk.qcow2, ${unit} a character, from · (zeroes) to █ (all data):\n`);
  for (const line of drawing.lines) console.log(`  ${line}`);

  const [before, after] = await Promise.all(
    ["disk.raw", "round-trip.raw"].map((name) => sha256(join(FOLDER, name))),
  );
  console.log(`\ncheck    ${firstLine(check)}`);
  console.log(`compare  ${firstLine(comparison)}`);
  console.log(`SHA-256  ${before} before`);
  console.log(`         ${after} after`);
  return before === after;
}

function firstLine(text: string): string {
  return text.trim().split("\n")[0] ?? "";
}

try {
  const identical = await demonstrate();
  console.log(
    `\nThe files are in ${FOLDER_IN_REPOSITORY}; try: npm start -- info ${FOLDER_IN_REPOSITORY}/disk.qcow2`,
  );
  console.log(identical ? "\nRound trip identical." : "\nROUND TRIP DIFFERS.");
  process.exitCode = identical ? 0 : 1;
} catch (error) {
  console.error(`\nThe demonstration failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
