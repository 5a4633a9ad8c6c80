/** What lies in a folder, with names as the host has them. */
import fs from "node:fs";
import { fromHostPath, hostPath } from "../file/host-path.ts";

export interface FolderEntry {
  readonly name: string;
  readonly isDirectory: boolean;
  readonly isFileOrLink: boolean;
}

/** @throws the host's error */
export async function listFolder(folder: string): Promise<FolderEntry[]> {
  const entries = await fs.promises.readdir(hostPath(folder), { withFileTypes: true, encoding: "buffer" });
  return entries.map((entry) => ({
    name: fromHostPath(entry.name),
    isDirectory: entry.isDirectory(),
    isFileOrLink: entry.isFile() || entry.isSymbolicLink(),
  }));
}
