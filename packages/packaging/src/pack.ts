/** Makes the tarballs that would be published. */
import { join } from "node:path";
import { execa } from "execa";
import { PUBLISHED_PACKAGES, type PublishedPackage, REPOSITORY } from "./published-packages.ts";

export interface Tarball extends PublishedPackage {
  /** Path of the .tgz file. */
  readonly path: string;
  /** Names of all files in it, relative to the package, sorted. */
  readonly files: readonly string[];
}

/** Packs every published package into `folder`. The packages must have been built. */
export async function packAll(folder: string): Promise<Tarball[]> {
  const { stdout } = await execa(
    "npm",
    [
      "pack",
      "--json",
      "--ignore-scripts",
      `--pack-destination=${folder}`,
      ...PUBLISHED_PACKAGES.map((item) => `--workspace=${item.name}`),
    ],
    { cwd: REPOSITORY, stdin: "ignore" },
  );
  const packed = packResults(stdout);
  return PUBLISHED_PACKAGES.map((item) => {
    const result = packed.find(({ name }) => name === item.name);
    if (result === undefined) throw new Error(`npm pack made no tarball of ${item.name}`);
    // npm once wrote "@scope/name-1.0.0.tgz" here for the file "scope-name-1.0.0.tgz".
    const fileName = result.filename.replace(/^@/, "").replace("/", "-");
    return { ...item, path: join(folder, fileName), files: result.files.map((file) => file.path).sort() };
  });
}

interface PackResult {
  readonly name: string;
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

/** npm 10 and 11 answer with a list, later ones with an object by name. */
function packResults(json: string): readonly PackResult[] {
  const parsed = JSON.parse(json) as readonly PackResult[] | Readonly<Record<string, PackResult>>;
  return Array.isArray(parsed) ? parsed : Object.values(parsed);
}
