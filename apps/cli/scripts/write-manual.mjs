// Puts the manual page where package.json says that it is. Runs after the build, because the command itself prints it.
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

const folder = path.join(import.meta.dirname, "..");
const {
  bin,
  man: [page],
} = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
const { stdout } = await promisify(execFile)(process.execPath, [
  path.join(folder, bin.qcow2),
  "help",
  "--man",
]);
await mkdir(path.dirname(path.join(folder, page)), { recursive: true });
await writeFile(path.join(folder, page), stdout);
