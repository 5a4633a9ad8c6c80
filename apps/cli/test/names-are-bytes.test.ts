/** Words of the command line that are no UTF-8, which Node.js replaces: each names what it says, and is printed as it is. */
import { execa } from "execa";
import { describe, expect, it, onTestFinished } from "vitest";
import { parseImageName } from "../src/options/image-name.ts";
import { formatQemuJson } from "../src/output/qemu-json.ts";
import { COMMAND, workspace } from "./run-command.ts";

const isLinux = process.platform === "linux";

/** Runs a shell's script with the command as `q`, and with its output as one character a byte. */
async function script(cwd: string, text: string): Promise<string> {
  const shell = `q() { '${process.execPath}' '${COMMAND}' "$@" 2>&1; }\n`;
  const { stdout, exitCode } = await execa("bash", ["-c", `set -e\n${shell}${text}`], {
    cwd,
    reject: false,
    encoding: "buffer",
    stripFinalNewline: true,
    env: { LC_ALL: "C" },
  });
  return `${Buffer.from(stdout).toString("latin1")}(${exitCode})`;
}

async function folder(): Promise<string> {
  const { folder: cwd } = await workspace();
  // Node.js finds no names that are bytes when it removes a folder.
  onTestFinished(async () => void (await execa("rm", ["-rf", cwd])));
  return cwd;
}

// Only Linux has file names of any bytes, and tells a program the bytes of its arguments.
describe.skipIf(!isLinux)("names that differ in bytes that are no UTF-8", () => {
  it("are two files, as images and as backing files", async () => {
    const answer = await script(
      await folder(),
      `printf '%512s' | tr ' ' A >$'base\\xff'; printf '%512s' | tr ' ' B >$'base\\xfe'
       q create -q -f qcow2 -b $'base\\xfe' -F raw over
       q convert -O raw over out; head -c 4 out; echo
       q rebase -q -u -b $'base\\xff' -F raw over
       q convert -O raw over out; head -c 4 out; echo
       q rebase -q -u -b $'\\xef\\xbb\\xbfbase' -F raw over
       q info over | grep 'backing file:'
       q io -r -f raw -c 'read -v 0 4' $'base\\xff' | head -1
       printf 'open -r base\\xfe\\nread -v 0 4\\n' | q io | grep -o '00000000:.*'
       q info $'missing\\xff' || true`,
    );
    expect(answer).toBe(
      `BBBB\nAAAA\nbacking file: \xef\xbb\xbfbase\n00000000:  41 41 41 41  AAAA\n00000000:  42 42 42 42  BBBB\nqcow2: Could not open 'missing\xff': Could not open 'missing\xff': No such file or directory(0)`,
    );
  });

  it("are two snapshots, and two bitmaps", async () => {
    const answer = await script(
      await folder(),
      `q create -q -f qcow2 disk 64k
       q io -c 'write -q -P 0x41 0 512' disk; q snapshot -c $'s\\xff' disk
       q io -c 'write -q -P 0x42 0 512' disk; q snapshot -c $'s\\xfe' disk
       q convert -l $'s\\xff' -O raw disk out; head -c 2 out; echo
       q convert -l $'snapshot.name=s\\xfe' -O raw disk out; head -c 2 out; echo
       q snapshot -a $'s\\xff' disk; q io -c 'read -v 0 2' disk | head -1
       q snapshot -d $'s\\xff' disk
       q snapshot -l disk | tail -1 | cut -c1-10
       q bitmap --add disk $'b\\xff'; q bitmap --add disk $'b\\xfe'; q bitmap --remove disk $'b\\xff'
       q info disk | grep ' name:'`,
    );
    expect(answer).toBe("AA\nBB\n00000000:  41 41  AA\n2       s\xfe\n            name: b\xfe(0)");
  });
});

it("in JSON they are what QEMU prints", () => {
  // What qemu-img 10.0 prints for the bytes of these names.
  expect(formatQemuJson("o\udcc3(\udce2\udc82v\udced\udca0\udc80.qcow2")).toBe(
    '"o\\uFFFD(\\uFFFDv\\uFFFD.qcow2"',
  );
  expect(formatQemuJson("s\udcf0\udc9f")).toBe('"s\\uFFFD"');
  expect(formatQemuJson("m\udcfe\udcff\udc80\udc80")).toBe(`"m${"\\uFFFD".repeat(4)}"`);
  expect(formatQemuJson("\u{1f600}\ufeff")).toBe('"\\uD83D\\uDE00\\uFEFF"');
});

it("in json: names they are no JSON, and no escape makes them", () => {
  for (const name of ['json:{"file.filename":"a\udcff"}', 'json:{"file.filename":"a\\udcff"}']) {
    expect(() => parseImageName(name)).toThrow("Could not parse the JSON options");
  }
  expect(parseImageName('json:{"file.filename":"a\\ud83d\\ude00"}').path).toBe("a\u{1f600}");
});
