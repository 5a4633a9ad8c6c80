import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach } from "vitest";

/** A fresh directory for each test of the file that calls this; the answer resolves names in it. */
export function useTemporaryDirectory(): (name?: string) => string {
  let directory = "";
  beforeEach(async () => {
    directory = await fs.realpath(await fs.mkdtemp(path.join(os.tmpdir(), "qcow2-node-")));
  });
  afterEach(async () => {
    await fs.rm(directory, { recursive: true, force: true });
  });
  return (name = "") => path.join(directory, name);
}
