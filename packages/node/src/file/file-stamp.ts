import fs from "node:fs";
import { identityOf } from "../references/file-identity.ts";

/** What a file was when it was looked at. */
export class FileStamp {
  readonly identity: string;
  readonly owner: number;
  readonly group: number;
  readonly mode: number;
  readonly links: number;
  readonly #bytes: bigint;
  readonly #modified: bigint;

  constructor(stat: fs.BigIntStats) {
    this.identity = identityOf(stat);
    this.owner = Number(stat.uid);
    this.group = Number(stat.gid);
    this.mode = Number(stat.mode);
    this.links = Number(stat.nlink);
    this.#bytes = stat.size;
    this.#modified = stat.mtimeNs;
  }

  static of(fd: number): FileStamp {
    return new FileStamp(fs.fstatSync(fd, { bigint: true }));
  }

  /** True if nobody has written to the file since, as far as its size and times tell. */
  hasContentOf(other: FileStamp): boolean {
    return this.#bytes === other.#bytes && this.#modified === other.#modified;
  }
}
