/** Makes inputs, reads them into the page cache, removes them. */
import { mkdir, rm, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { FileStorage } from "@qcow2/node";
import { execa } from "execa";
import { formatBytes } from "../report/units.ts";
import { INPUTS, inputPaths } from "./all-inputs.ts";
import type { ImageTool, InputName, InputPaths, Recipe } from "./input-kind.ts";

export class InputStore {
  readonly paths: InputPaths;
  readonly #recipe: Recipe;
  readonly #tool: ImageTool;

  /** @param folder an existing folder; the inputs get folders of their own in it */
  constructor(options: { readonly folder: string; readonly recipe: Recipe; readonly tool: ImageTool }) {
    this.paths = inputPaths(options.folder, options.recipe);
    this.#recipe = options.recipe;
    this.#tool = options.tool;
  }

  /** @throws Error if a tool fails, or if what was made is not what it should be */
  async make(name: InputName): Promise<void> {
    const path = this.paths[name];
    if (!this.#isUsers(name)) await mkdir(dirname(path));
    await INPUTS[name].make({
      ...this.#recipe,
      path,
      paths: this.paths,
      img: async (args) => {
        const [program, ...fixed] = this.#tool.command;
        await execa(program, [...fixed, ...args], { stdin: "ignore" });
      },
    });
  }

  /** What is the user's stays. */
  async remove(name: InputName): Promise<void> {
    if (!this.#isUsers(name)) await rm(dirname(this.paths[name]), { recursive: true });
  }

  #isUsers(name: InputName): boolean {
    return name === "disk" && this.#recipe.diskFile !== undefined;
  }
}

/** Bytes that a file takes on the disk. */
export async function allocated(path: string): Promise<number> {
  const { blocks } = await stat(path);
  return blocks * 512;
}

/** @throws RangeError with a sentence for the user */
export async function requireSpace(folder: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < neededBytes) {
    throw new RangeError(
      `${folder} has ${formatBytes(bavail * bsize)} free, and the benchmark needs ${formatBytes(neededBytes)} ` +
        "(see --work, --data, --full)",
    );
  }
}

/** Reads a file's data, so that every tool finds it in the page cache. Holes are passed over: they may be large. */
export async function warm(path: string): Promise<void> {
  const file = await FileStorage.open(path, { readOnly: true, forceShare: true });
  try {
    const buffer = new Uint8Array(4 * 2 ** 20);
    const size = await file.size();
    for (let offset = 0; offset < size; ) {
      const { kind, length } = (await file.extentAt?.(offset)) ?? { kind: "data", length: size - offset };
      for (let done = 0; kind === "data" && done < length; done += buffer.length) {
        await file.read(offset + done, buffer.subarray(0, Math.min(buffer.length, length - done)));
      }
      offset += length;
    }
  } finally {
    await file.close();
  }
}
