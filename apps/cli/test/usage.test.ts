import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { COMMANDS } from "../src/commands.ts";
import { COMMAND, runHere, runIn, workspace } from "./run-command.ts";

describe("help", () => {
  test("names every command", async () => {
    const help = (await runHere(".", ["--help"])).stdout;
    for (const name of Object.keys(COMMANDS)) expect(help).toMatch(new RegExp(`^ {2}${name} +\\S`, "m"));
  });

  test.each(Object.keys(COMMANDS))("of %s has usage, options, examples and exit codes", async (name) => {
    const help = (await runHere(".", [name, "--help"])).stdout;
    expect(help.startsWith(`Usage: qcow2 ${name} `)).toBe(true);
    for (const title of ["Options:", "Examples:", "Exit codes:"]) expect(help).toContain(`\n\n${title}\n`);
    expect(help).toMatch(/^ {2}-h, --help +print this help and exit$/m);
    const lines = help.split("\n");
    expect(lines.filter((line) => line.length > 120)).toEqual([]);
  });

  test("is also what 'help' prints", async () => {
    expect((await runHere(".", ["help"])).stdout).toBe((await runHere(".", ["--help"])).stdout);
    expect((await runHere(".", ["help", "convert"])).stdout).toBe(
      (await runHere(".", ["convert", "--help"])).stdout,
    );
    const unknown = await runHere(".", ["help", "toString"]);
    expect(unknown).toMatchObject({ exitCode: 1, stdout: "" });
    expect(unknown.stderr).toMatch(/Command not found: toString/);
  });

  test("goes before everything else", async () => {
    const { start } = await workspace();
    const outcome = await start("convert", "-h", "--bogus");
    expect(outcome).toMatchObject({ exitCode: 0, stderr: "" });
  });
});

test("--version can be read as scripts read qemu-img's: from the start of the line, by its third word, anywhere", async () => {
  const { start } = await workspace();
  const { stdout } = await start("--version");
  expect(stdout).toMatch(/^qemu-img version 10\.0\.\d+ \(qcow2 \d+\.\d+\.\d+\)\n$/);
  expect(stdout.split(" ")[2]).toMatch(/^10\.0\.\d+$/);
  expect(/version\s+(\d+)\.(\d+)/i.exec(stdout)?.slice(1)).toEqual(["10", "0"]);
});

describe("called through a link named qemu-img", () => {
  test("it speaks as qemu-img", async () => {
    const { folder, file } = await workspace();
    await symlink(COMMAND, file("qemu-img"));
    const version = await runIn(folder, ["--version"], file("qemu-img"));
    expect(version.stdout).toMatch(/^qemu-img version 10\.0\.\d+ /);
    const failure = await runIn(folder, ["info", "missing"], file("qemu-img"));
    expect(failure.stderr).toBe(
      "qemu-img: Could not open 'missing': Could not open 'missing': No such file or directory\n",
    );
  });
});

describe("wrong usage exits with 1, points to the help and writes nothing", () => {
  test.each<[string[], RegExp]>([
    [[], /Not enough arguments/],
    [["bogus"], /Command not found: bogus/],
    [["constructor"], /Command not found: constructor/],
    [["help", "bogus"], /Command not found: bogus/],
    [["completion"], /Expecting the name of a shell: bash, zsh, fish/],
    [["--bogus"], /unrecognized option '--bogus'/],
    [["info"], /Expecting one image file name/],
    [["info", "a", "b"], /Expecting one image file name/],
    [["info", "--output=xml", "a"], /--output expects 'human' or 'json'/],
    [["info", "--bogus", "a"], /unrecognized option '--bogus'/],
    [["check"], /Expecting one image file name/],
    [["check", "-r", "some", "a"], /expects 'leaks' or 'all'/],
    [["compare", "a"], /Expecting two image file names/],
    [["create"], /Expecting image file name/],
    [["create", "a", "1", "2"], /Unexpected argument: 2/],
    [["create", "-b"], /requires an argument/],
    [["map", "-x", "a"], /invalid option -- 'x'/],
    [["snapshot", "-c", "a", "-d", "b", "c"], /Cannot mix '-l', '-a', '-c', '-d'/],
  ])("%j", async (args, message) => {
    const { folder, qcow2 } = await workspace();
    const outcome = await qcow2(...args);
    expect(outcome).toMatchObject({ exitCode: 1, stdout: "" });
    const [first = "", second = "", ...rest] = outcome.stderr.split("\n");
    expect(first).toMatch(message);
    expect(first).toMatch(/^qcow2( [a-z]+)?: /);
    expect(second).toMatch(/^Try 'qcow2( [a-z]+)? --help' for more info$/);
    expect(rest).toEqual([""]);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("what cannot be done is one line on stderr, exit code 1, and no file", () => {
  test.each<[string[], RegExp]>([
    [["convert", "-m", "17", "a", "b"], /between 1 and 16/],
    [["create", "-f", "bogus", "a", "1M"], /a: Unknown file format 'bogus'/],
    [["create", "-f", "vmdk", "a", "1M"], /a: Writing the format 'vmdk' is not supported/],
    [["create", "-f", "qcow2", "a"], /a: Image creation needs a size parameter/],
    [["create", "a", "1.5b"], /Invalid image size specified: '1.5b'/],
    [["create", "--", "a", "-1"], /Must be between 0 and/],
    [["create", "-o", ",x", "a", "1M"], /Invalid option list: ,x/],
    [["create", "-f", "qcow2", "-o", "size=1M", "a", "1M"], /specified only once/],
    [["create", "-f", "qcow2", "-o", "cluster_size=100", "a", "1M"], /[Cc]luster size/],
    [["create", "-f", "qcow2", "-o", "compat=9", "a", "1M"], /'version' does not accept value '9'/],
    [["create", "-f", "qcow2", "-o", "compat=v2,lazy_refcounts=on", "a", "1M"], /[Ll]azy refcounts/],
    [["create", "-f", "qcow2", "-o", "data_file_raw=on", "a", "1M"], /data-file-raw requires data-file/],
    [["create", "-f", "qcow2", "-o", "encrypt.format=luks", "a", "1M"], /Encryption is not supported yet/],
    [["create", "-f", "qcow2", "-ocluster_size=512", "a", "1T"], /too large/],
    [["create", "-f", "qcow2", "-b", "none", "-F", "qcow2", "a"], /a: Could not open 'none': No such file/],
    [["create", "-f", "qcow2", "-b", "raw.img", "a"], /without backing format/],
    [["create", "-f", "qcow2", "-u", "-b", "none", "a", "1M"], /without backing format/],
    [["create", "-f", "raw", "-b", "raw.img", "-F", "raw", "a"], /Backing file not supported/],
    [["create", "-f", "qcow2", "-b", "a", "-F", "raw", "a"], /same filename as the backing file/],
    [["create", "-f", "qcow2", "-b", "raw.img", "-F", "raw", "./raw.img"], /raw\.img/],
    [["create", "nowhere/a", "1M"], /nowhere\/a.*No such file or directory/],
    [["create", "folder", "1M"], /folder.*(Is|is) a directory/],
    [["create", "http://host/a", "1M"], /Unknown protocol 'http'/],
    [["info", "missing"], /Could not open 'missing': No such file or directory/],
    [["info", "folder"], /Could not open 'folder': /],
    [["info", "-f", "qcow2", "raw.img"], /Could not open 'raw.img': Image is not in qcow2 format/],
    [["map", "missing"], /Could not open 'missing': No such file or directory/],
    [["measure"], /Either --size N or one filename must be specified/],
    [["measure", "-O", "bogus", "--size", "1M"], /Unknown file format 'bogus'/],
    [["measure", "--size", "1M", "a"], /cannot be used together/],
    [["convert", "raw.img"], /Must specify image file name/],
    [["convert", "missing", "a"], /Could not open 'missing': No such file or directory/],
    [["convert", "-O", "bogus", "raw.img", "a"], /Unknown file format 'bogus'/],
    [["convert", "-O", "qcow2", "-o", "foo=1", "raw.img", "a"], /Invalid parameter 'foo'/],
    [["convert", "-O", "qcow2", "-o", "cluster_size=3", "raw.img", "a"], /[Cc]luster size/],
    [["convert", "-c", "raw.img", "a"], /Compression not supported for this file format/],
    [
      ["convert", "-c", "-O", "qcow2", "-o", "preallocation=full", "raw.img", "a"],
      /Compression and preallocation/,
    ],
    [["convert", "-S", "100", "raw.img", "a"], /Valid sizes are multiples of 512/],
    [["convert", "--bitmaps", "raw.img", "a"], /Source lacks bitmap support/],
    [["convert", "-n", "raw.img", "a"], /Could not open 'a': No such file or directory/],
    [["convert", "--target-is-zero", "raw.img", "a"], /requires use of -n/],
    [["convert", "-O", "qcow2", "-B", "raw.img", "raw.img", "a"], /requires explicit backing format/],
    [["convert", "-l", "none", "raw.img", "a"], /Failed to load snapshot: Can't find snapshot/],
    [["convert", "-t", "bogus", "raw.img", "a"], /Invalid cache option: bogus/],
    [["convert", "-r", "1x", "raw.img", "a"], /Invalid rate limit specified: '1x'/],
    [["convert", "raw.img", "./raw.img"], /The target is the source image/],
    [["convert", "raw.img", "folder"], /folder.*(Is|is) a directory/],
  ])("%j", async (args, message) => {
    const { folder, file, qcow2 } = await workspace();
    await writeFile(file("raw.img"), Buffer.alloc(1024, "x"));
    await mkdir(file("folder"));
    const outcome = await qcow2(...args);
    expect(outcome.stderr).toMatch(message);
    const [first = "", ...rest] = outcome.stderr.split("\n");
    expect(first).toMatch(/^qcow2: /);
    const hints = rest.filter(
      (line) => !/^(Could not open backing image\.|Detected format of raw\.)$/.test(line),
    );
    expect(hints).toEqual([""]);
    expect(outcome.exitCode).toBe(1);
    expect((await readdir(folder)).sort()).toEqual(["folder", "raw.img"]);
    expect(await readdir(file("folder"))).toEqual([]);
  });
});
