/** dd: what qemu-img does, and ours refuses; what both do alike is among the cases of `src/options`. */
import { writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { tryOursAsQemuImg } from "../src/ours.ts";
import { describeConformance } from "../src/requires.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "dd: what it refuses";

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it("does not write over what it reads, where qemu-img does", async () => {
    using bench = new Workbench("dd");
    writeFileSync(bench.path("raw"), Buffer.alloc(65536, 7));
    const answer = await tryOursAsQemuImg(["dd", "-f", "raw", "if=raw", "of=raw"], { cwd: bench.folder });
    expect(answer).toMatchObject({ exitCode: 1, stdout: "" });
    expect(answer.stderr).toMatch(/The target is the source image/);
    caseRan(GROUP, qemu.version);
  });
});
