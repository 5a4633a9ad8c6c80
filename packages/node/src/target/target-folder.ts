/** The directory in which a target has its name, held open: it stays the same one, whatever its path means by then. */
import fs from "node:fs";
import path from "node:path";
import { flushDirectory } from "../file/flush-directory.ts";
import { errnoOf, hostError } from "../file/host-error.ts";
import { hostPath } from "../file/host-path.ts";
import { identityOf } from "../references/file-identity.ts";
import { directoryPrefix } from "../references/file-name.ts";
import { hasPowerOver } from "./file-owner-power.ts";

/** Linux: a descriptor for a directory that we may use, but not read. */
const O_PATH = 0o10000000;

export class TargetFolder {
  /** As it was called, with the separator; "" for the working directory. */
  readonly prefix: string;
  readonly #base: string;
  readonly #fd: number | undefined;
  #isClosed = false;

  private constructor(prefix: string, fd: number | undefined) {
    this.prefix = prefix;
    this.#fd = fd;
    const byDescriptor = `/proc/self/fd/${fd}/`;
    const isLinux = process.platform === "linux" && fd !== undefined;
    // Programs may change their working directory meanwhile.
    const byName = path.isAbsolute(prefix) ? prefix : `${process.cwd()}${path.sep}${prefix}`;
    this.#base = isLinux && fs.existsSync(byDescriptor) ? byDescriptor : byName;
  }

  /** The directory of the file at `file`; `name` is what messages call that file. @throws Qcow2Error "io" */
  static open(file: string, name: string): TargetFolder {
    const prefix = directoryPrefix(file);
    // Windows opens no directories.
    if (process.platform === "win32") return new TargetFolder(prefix, undefined);
    try {
      return new TargetFolder(prefix, openDirectory(prefix || "."));
    } catch (error) {
      throw hostError(error, { operation: "create", name });
    }
  }

  /** The path of a file in it. */
  at(name: string): string {
    return this.#base + name;
  }

  /** What has that name in it, links not followed; undefined if nothing has, or it cannot be told. */
  identityOf(name: string): string | undefined {
    try {
      return identityOf(fs.lstatSync(hostPath(this.at(name)), { bigint: true }));
    } catch {
      return undefined;
    }
  }

  /** Nothing needs to be there. */
  remove(name: string): void {
    try {
      fs.unlinkSync(hostPath(this.at(name)));
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return;
      // There are folders in which one may create, and neither rename nor remove.
      throw hostError(error, { operation: "remove", name: this.prefix + name });
    }
  }

  /** Replaces what is called `to`. */
  rename(from: string, to: string): void {
    fs.renameSync(hostPath(this.at(from)), hostPath(this.at(to)));
  }

  link(name: string, second: string): void {
    fs.linkSync(hostPath(this.at(name)), hostPath(this.at(second)));
  }

  /** True if everybody may create files in it, but only their owners rename or replace them (the "sticky" bit). */
  keepsFilesOf(owner: number): boolean {
    const user = process.geteuid?.();
    if (this.#fd === undefined || user === undefined) return false;
    const { mode, uid } = fs.fstatSync(this.#fd);
    return (mode & 0o1000) !== 0 && user !== owner && user !== uid && !hasPowerOver(owner);
  }

  /** True if the open file `fd`, found in this directory, is a mount of its own: no other file can take its name. */
  isMountPoint(fd: number): boolean {
    if (this.#fd === undefined || process.platform !== "linux") return false;
    const [own, file] = [mountOf(this.#fd), mountOf(fd)];
    return own !== undefined && file !== undefined && own !== file;
  }

  /** @throws Qcow2Error "io" */
  async flush(name: string): Promise<void> {
    if (this.#fd !== undefined) await flushDirectory(this.#fd, name);
  }

  close(): void {
    if (this.#fd === undefined || this.#isClosed) return;
    this.#isClosed = true;
    fs.closeSync(this.#fd);
  }
}

function openDirectory(directory: string): number {
  const { O_RDONLY, O_DIRECTORY } = fs.constants;
  const path = hostPath(directory);
  try {
    return fs.openSync(path, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if (errnoOf(error) !== "EACCES" || process.platform !== "linux") throw error;
    return fs.openSync(path, O_PATH | O_DIRECTORY);
  }
}

/** The number of the mount through which a file was opened; undefined where the kernel does not tell. */
function mountOf(fd: number): string | undefined {
  try {
    return /^mnt_id:\s*(\d+)$/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1];
  } catch {
    return undefined;
  }
}
