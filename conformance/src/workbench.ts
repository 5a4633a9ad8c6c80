import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder of its own for one case, removed with everything in it. Use it with `using`. */
export class Workbench implements Disposable {
  readonly folder: string;

  constructor(name = "case") {
    this.folder = mkdtempSync(join(tmpdir(), `qcow2-${name}-`));
  }

  path(...names: readonly string[]): string {
    return join(this.folder, ...names);
  }

  [Symbol.dispose](): void {
    if (process.env.QCOW2_CONFORMANCE_KEEP === undefined)
      rmSync(this.folder, { recursive: true, force: true });
  }
}
