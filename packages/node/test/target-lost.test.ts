/** Targets whose finished file, or whose folder, somebody else has removed meanwhile. */
import fs from "node:fs/promises";
import { isQcow2Error } from "@qcow2/core";
import { describe, expect, it } from "vitest";
import { putInPlace } from "../src/target/put-in-place.ts";
import { TargetFolder } from "../src/target/target-folder.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();

/** What the host's renameat2 answers, as negative errnos; more calls than answers are a loop without an end. */
function renamingWith(...answers: readonly number[]): { rename: () => number; calls: () => number } {
  let calls = 0;
  const rename = (): number => {
    const answer = answers[calls++];
    if (answer === undefined) throw new Error("it goes on for ever");
    return answer;
  };
  return { rename, calls: () => calls };
}

const [ENOENT, EEXIST] = [-2, -17];

function put(rename: () => number): string | undefined {
  const folder = TargetFolder.open(inDirectory("a.img"), "a.img");
  try {
    const names = { name: "a.img", temporary: ".qcow2-0.part", target: "a.img" };
    putInPlace({ ...names, folder, replaced: "file 1:1", revocable: false }, rename);
    return undefined;
  } catch (error) {
    if (isQcow2Error(error, "io")) return error.data.errno;
    throw error;
  } finally {
    folder.close();
  }
}

describe.skipIf(process.platform === "win32")("a finished file that cannot get its name", () => {
  it("because it is gone, or its folder is, ends there", () => {
    const { rename, calls } = renamingWith(ENOENT, ENOENT);
    expect(put(rename)).toBe("ENOENT");
    expect(calls()).toBe(2);
  });

  it("because the name comes and goes, is tried again, and not for ever", () => {
    expect(put(renamingWith(ENOENT, EEXIST, ENOENT, 0).rename)).toBeUndefined();
    const always = Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? ENOENT : EEXIST));
    expect(put(renamingWith(...always).rename)).toBe("EBUSY");
  });

  it("is not said to be where it is not", async () => {
    const { TargetFile } = await import("../src/target/target-file.ts");
    await fs.mkdir(inDirectory("folder"));
    await fs.writeFile(inDirectory("folder/a.img"), "old");
    const target = await TargetFile.create(inDirectory("folder/a.img"));
    await target.storage.write(0, Buffer.from("new"));
    for (const name of await fs.readdir(inDirectory("folder"))) {
      if (name.endsWith(".part")) await fs.rm(inDirectory(`folder/${name}`));
    }
    const error: unknown = await target.commit().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "io", data: { errno: "ENOENT" } });
    expect(String(error)).not.toContain("finished result");
    expect(await fs.readFile(inDirectory("folder/a.img"), "latin1")).toBe("old");
  });
});
