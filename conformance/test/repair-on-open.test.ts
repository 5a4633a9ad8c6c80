/** Images that a killed qemu-io left dirty: opened for writing by us, they are repaired as QEMU would repair them. */
import { Qcow2Image } from "@qcow2/core";
import { FileStorage } from "@qcow2/node";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { describeConformance } from "../src/requires.ts";
import { expectSuccess, runTool } from "../src/run-tool.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "repair on open: dirty images of a killed qemu-io";
const OPTIONS = [
  "cluster_size=65536",
  "cluster_size=512",
  "extended_l2=on",
  "refcount_bits=1",
  "refcount_bits=64",
];
const WRITES = ["write -q -P 1 0 300000", "write -q -P 2 500000 70000", "write -q -z 100000 65536"];

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.each(OPTIONS)("%s", async (options) => {
    using bench = new Workbench("repair");
    const inFolder = { cwd: bench.folder };
    for (const name of ["dirty", "expected"]) {
      const words = ["create", "-q", "-f", "qcow2", "-o", `lazy_refcounts=on,${options}`, name, "1M"];
      await qemu.img(words, inFolder);
    }
    await qemu.io("expected", [...WRITES, "write -q -P 9 4096 4096"], inFolder);
    // The flush writes L2 tables and, because refcounts are lazy, leaves them unwritten.
    const commands = [...WRITES, "flush", "sigraise 9"].flatMap((command) => ["-c", command]);
    await expect(
      runTool(qemu.command("qemu-io"), ["-f", "qcow2", ...commands, "dirty"], inFolder),
    ).rejects.toThrow(/SIGKILL/);
    const found = await Qcow2Image.open({
      storage: await FileStorage.open(bench.path("dirty")),
      metadataOnly: true,
    });
    expect(found.info().dirty).toBe(true);
    expect((await found.check()).corruptions).toBeGreaterThan(0);
    await found.close();

    const image = await Qcow2Image.open({ storage: await FileStorage.open(bench.path("dirty")) });
    await image.write({ offset: 4096, from: new Uint8Array(4096).fill(9) });
    await image.close();
    expectSuccess("qemu-img check", await qemu.tryImg(["check", "-f", "qcow2", "dirty"], inFolder));
    expectSuccess("qemu-img compare", await qemu.tryImg(["compare", "dirty", "expected"], inFolder));
    caseRan(GROUP, qemu.version);
  });
});
