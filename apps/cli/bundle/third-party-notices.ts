/** Writes the licences of the packages that end up in the bundle beside it: most of them ask for that. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Plugin } from "rolldown";

const FILE_NAME = "THIRD-PARTY-NOTICES.txt";

const INTRODUCTION = "The qcow2 command contains code of these packages, under the licences that follow.\n";

export function thirdPartyNotices(): Plugin {
  return {
    name: "third-party-notices",
    async generateBundle(_options, bundle) {
      const folders = new Set<string>();
      for (const file of Object.values(bundle)) {
        for (const id of file.type === "chunk" ? file.moduleIds : []) {
          const folder = folderOfPackage(id);
          if (folder !== undefined) folders.add(folder);
        }
      }
      const notices = await Promise.all([...folders].map(noticeOf));
      const source = [INTRODUCTION, ...notices.sort()].join(`\n${"-".repeat(80)}\n\n`);
      this.emitFile({ type: "asset", fileName: FILE_NAME, source });
    },
  };
}

/** The folder of the package that a module belongs to; undefined for one of this repository. */
function folderOfPackage(id: string): string | undefined {
  return /^(.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+)[\\/]/.exec(id)?.[1];
}

async function noticeOf(folder: string): Promise<string> {
  const manifest: { name: string; version: string; license?: string } = JSON.parse(
    await readFile(join(folder, "package.json"), "utf8"),
  );
  const title = `${manifest.name} ${manifest.version} (${manifest.license ?? "no licence is stated"})`;
  const name = (await readdir(folder)).find((file) => /^licen[cs]e/i.test(file));
  if (name === undefined) throw new Error(`${title} is bundled, and has no licence file to go with it`);
  return `${title}\n\n${(await readFile(join(folder, name), "utf8")).trim()}\n`;
}
