import fs from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { expect, it } from "vitest";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();

it("the built package works where koffi was never installed", async () => {
  // The package's files beside its other dependencies, and nothing above them to find koffi in.
  const packageDirectory = inDirectory("node_modules/@qcow2/node");
  const root = path.join(import.meta.dirname, "..");
  await fs.cp(path.join(root, "dist"), path.join(packageDirectory, "dist"), { recursive: true });
  await fs.copyFile(path.join(root, "package.json"), path.join(packageDirectory, "package.json"));
  for (const name of ["core", "zstd"]) {
    const copy = inDirectory(`node_modules/@qcow2/${name}`);
    await fs.cp(path.join(root, `../${name}/dist`), path.join(copy, "dist"), { recursive: true });
    await fs.copyFile(path.join(root, `../${name}/package.json`), path.join(copy, "package.json"));
  }
  await fs.writeFile(
    inDirectory("main.mjs"),
    `import { FileStorage, nodeCodecs, TargetFile } from "@qcow2/node";
     const target = await TargetFile.create("a.img");
     await target.storage.write(3, Buffer.from("content"));
     await target.commit();
     const storage = await FileStorage.open("a.img");
     const into = Buffer.alloc(7);
     await storage.read(3, into);
     await storage.close();
     const codecs = nodeCodecs({ threads: 1 });
     const stored = await codecs.zlib.compress(into);
     const { length } = await codecs.zlib.decompress(stored, 7);
     await codecs.close();
     console.log(JSON.stringify({ text: into.toString(), holes: storage.extentAt !== undefined, length }));`,
  );
  const { stdout, stderr } = await execa(process.execPath, ["main.mjs"], { cwd: inDirectory() });
  expect(JSON.parse(stdout)).toEqual({ text: "content", holes: false, length: 7 });
  expect(stderr).toBe("");
});
