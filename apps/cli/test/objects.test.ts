import { createCipheriv } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { defineObjects } from "../src/objects/define-objects.ts";
import { workspace } from "./run-command.ts";

async function secretsOf(...definitions: string[]): Promise<Record<string, string>> {
  const defined = await defineObjects(definitions);
  if (defined.kind === "help") throw new Error("help");
  return Object.fromEntries(
    Array.from(defined.secrets, ([id, bytes]) => [id, Buffer.from(bytes).toString("latin1")]),
  );
}

const KEY = "0123456789abcdef0123456789abcdef";
const IV = Buffer.from("an iv of 16 byte");
const MASTER = `secret,id=m,data=${KEY}`;

function encrypted(text: string): string {
  const cipher = createCipheriv("aes-256-cbc", KEY, IV);
  return Buffer.concat([cipher.update(text), cipher.final()]).toString("base64");
}

const decrypting = (data: string, more = ""): string =>
  `secret,id=s,keyid=m,format=base64,iv=${IV.toString("base64")},data=${data}${more}`;

describe("secrets", () => {
  test.each<[string[], Record<string, string>]>([
    [["secret,id=s,data=hello"], { s: "hello" }],
    [["id=s,data=a,,b=c,qom-type=secret,"], { s: "a,b=c" }],
    [["secret,id=s,data=aGVsbG8=,format=base64"], { s: "hello" }],
    [["secret,id=a,data=1", "secret,id=b,data="], { a: "1", b: "" }],
    [['{"qom-type":"secret","id":"s","data":"hello"}'], { s: "hello" }],
    [[MASTER, decrypting(encrypted("hello"))], { m: KEY, s: "hello" }],
    [[MASTER, decrypting(encrypted("sixteen bytes ok"))], { m: KEY, s: "sixteen bytes ok" }],
  ])("%j", async (definitions, expected) => {
    expect(await secretsOf(...definitions)).toEqual(expected);
  });

  test("come out of files, byte by byte, as they are or in base64", async () => {
    const space = await workspace();
    await writeFile(space.file("plain"), Buffer.from([0, 255, 10]));
    await writeFile(space.file("encoded"), "aGVsbG8=\n");
    expect(await secretsOf(`secret,id=s,file=${space.file("plain")}`)).toEqual({ s: "\0\xff\n" });
    expect(await secretsOf(`secret,id=s,file=${space.file("encoded")},format=base64`)).toEqual({
      s: "hello",
    });
    await expect(secretsOf(`secret,id=s,file=${space.file("missing")}`)).rejects.toThrow(
      /^Unable to read .*missing: Failed to open file “.*missing”: No such file or directory$/,
    );
  });

  test("whoever asks for help gets it, whatever else is asked", async () => {
    const space = await workspace();
    expect(await space.succeed("info", "--object", "secret,help", "missing")).toMatch(
      /^secret options:\n {2}data=/,
    );
    expect(await space.succeed("info", "--object", "help", "missing")).toMatch(/secret/);
  });
});
