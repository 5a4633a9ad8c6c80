/** The files that may be images: those of folders, and those that were asked for by name. */
import fs from "node:fs";
import { Qcow2Error } from "@qcow2/core";
import { hostError } from "../file/host-error.ts";
import { hostPath } from "../file/host-path.ts";
import { joinPath } from "../references/file-name.ts";
import { listFolder } from "../references/list-folder.ts";
import type { UnreadablePath } from "./image-tree.ts";

export interface FoundFile {
  readonly path: string;
  /** Asked for by its own name, so that it is shown whatever it is. */
  readonly isNamed: boolean;
}

export interface FindFilesOptions {
  /** Folders and files. */
  readonly paths: readonly string[];
  /** Look into folders within folders, too; links to folders are not followed. */
  readonly recursive: boolean;
  /** Hidden files and folders, too. */
  readonly hidden: boolean;
}

/** What cannot be listed is returned, not thrown. */
export async function findFiles(
  options: FindFilesOptions,
): Promise<{ readonly files: readonly FoundFile[]; readonly unreadable: readonly UnreadablePath[] }> {
  const files: FoundFile[] = [];
  const unreadable: UnreadablePath[] = [];
  const folders: string[] = [];
  for (const path of options.paths) {
    try {
      if ((await fs.promises.stat(hostPath(path))).isDirectory()) folders.push(path);
      else files.push({ path, isNamed: true });
    } catch (error) {
      unreadable.push({ path, error: asQcow2Error(error, path) });
    }
  }
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    try {
      for (const entry of await listFolder(folder)) {
        if (!options.hidden && entry.name.startsWith(".")) continue;
        const path = joinPath(folder, entry.name);
        if (entry.isDirectory && options.recursive) folders.push(path);
        if (entry.isFileOrLink) files.push({ path, isNamed: false });
      }
    } catch (error) {
      unreadable.push({ path: folder, error: asQcow2Error(error, folder) });
    }
  }
  return { files, unreadable };
}

/** What a failed system call becomes; mistakes of ours are thrown. */
export function asQcow2Error(error: unknown, name: string): Qcow2Error {
  const known = hostError(error, { operation: "open", name });
  if (known instanceof Qcow2Error) return known;
  throw known;
}
