/** The files of a broken image, and opening it over them. */
import { type Codecs, type OpenOptions, Qcow2Image } from "@qcow2/core";
import { type FuzzFiles, openBacking } from "./build-fuzz-image.ts";
import type { FuzzOpenOptions } from "./fuzz-case.ts";
import type { Figures } from "./fuzz-find.ts";
import { FuzzStorage } from "./fuzz-storage.ts";
import { type GuardOptions, guarded } from "./guarded-run.ts";
import { distinctSnapshots, type ImageView, snapshotKey, viewOfDisk } from "./observe.ts";

export interface FuzzContext {
  readonly codecs: Codecs;
  readonly open: FuzzOpenOptions;
  readonly figures: Figures;
}

/** Files that can be changed, each a copy of what a case begins with. */
export class OpenedFiles {
  readonly image: FuzzStorage;
  readonly data: FuzzStorage | undefined;
  readonly #backing: FuzzFiles["backing"];
  readonly #context: FuzzContext;
  readonly clusterSize: number;

  constructor(files: FuzzFiles, context: FuzzContext) {
    const { sparse } = context.open;
    this.image = new FuzzStorage({ name: "image", bytes: files.image.slice(), sparse });
    this.data = files.data && new FuzzStorage({ name: "data", bytes: files.data.slice(), sparse });
    this.#backing = files.backing;
    this.#context = context;
    this.clusterSize = clusterSizeOf(files.image);
  }

  get guard(): GuardOptions {
    return {
      storages: this.data === undefined ? [this.image] : [this.image, this.data],
      clusterSize: this.clusterSize,
    };
  }

  async open(options: Partial<OpenOptions>): Promise<Qcow2Image> {
    const { codecs, open } = this.#context;
    return await Qcow2Image.open({
      storage: this.image,
      codecs,
      l2CacheBytes: open.cacheBytes,
      refcountCacheBytes: open.cacheBytes,
      references: {
        openBackingFile: async () =>
          await openBacking(this.#backing ?? { format: "raw", bytes: new Uint8Array(0) }, codecs),
        openDataFile: async () => this.data ?? new FuzzStorage({ name: "data", bytes: new Uint8Array(0) }),
      },
      ...options,
    });
  }

  /** What can be read now; undefined if it cannot be opened. */
  async view(): Promise<ImageView | undefined> {
    const opened = await guarded("open", this.guard, () => this.open({ readOnly: true }));
    if (opened.error !== undefined) return undefined;
    const image = opened.result;
    const active = await viewOfDisk(image, this.guard);
    const snapshots: ImageView["snapshots"] = new Map();
    for (const snapshot of distinctSnapshots(image).slice(0, 8)) {
      const found = await guarded("open of a snapshot", this.guard, () =>
        this.open({ snapshot: snapshot.id }),
      );
      if (found.error !== undefined) continue;
      snapshots.set(snapshotKey(snapshot), await viewOfDisk(found.result, this.guard));
      await guarded("close", this.guard, () => found.result.close());
    }
    await guarded("close", this.guard, () => image.close());
    return { active, snapshots };
  }
}

/** As the header says; 512 for what it cannot say. */
function clusterSizeOf(image: Uint8Array): number {
  if (image.length < 24) return 512;
  const bits = new DataView(image.buffer, image.byteOffset).getUint32(20);
  return bits >= 9 && bits <= 21 ? 2 ** bits : 512;
}
