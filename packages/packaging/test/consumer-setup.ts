/** Packs once and installs once for all tests of this workspace. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { createConsumer } from "../src/consumer.ts";
import { packAll, type Tarball } from "../src/pack.ts";
import { PUBLISHED_PACKAGES, REPOSITORY } from "../src/published-packages.ts";

declare module "vitest" {
  interface ProvidedContext {
    readonly tarballs: readonly Tarball[];
    /** Folder of a project that has the tarballs installed. */
    readonly consumer: string;
  }
}

export async function setup(project: TestProject): Promise<() => void> {
  const unbuilt = PUBLISHED_PACKAGES.find(({ folder }) => !existsSync(join(REPOSITORY, folder, "dist")));
  if (unbuilt !== undefined) throw new Error(`${unbuilt.folder} is not built: run npm run build`);
  const folder = mkdtempSync(join(tmpdir(), "qcow2-packaging-"));
  const consumer = join(folder, "consumer");
  const tarballs = await packAll(folder);
  await createConsumer(consumer, tarballs);
  project.provide("tarballs", tarballs);
  project.provide("consumer", consumer);
  return () => rmSync(folder, { recursive: true, force: true });
}
