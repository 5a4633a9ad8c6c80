/** The map of a qcow2 disk over all layers of its chain: what qemu-img map shows. */
import type { Disk, DiskRange, Extent } from "../disk/disk.ts";
import { clipRange } from "../disk/disk-range.ts";
import type { Storage } from "../storage/storage.ts";
import type { GuestReader } from "./guest-reader.ts";
import type { ResolvedExtent } from "./resolve.ts";

/** Extents resolved at a time; bounds the memory of a map of any disk. */
const EXTENTS_AT_A_TIME = 4096;

export interface GuestMapOptions {
  /** Where guest bytes are in this layer. */
  readonly resolve: GuestReader["resolve"];
  readonly virtualSize: number;
  readonly dataStorage: Storage;
  readonly backing: Disk | undefined;
  /**
   * True if the image looks as if its clusters were allocated before they were written. Only then is the host asked
   * which of them are holes: in other images the answer is not worth the question.
   */
  readonly looksPreallocated: () => Promise<boolean>;
}

export async function* mapGuest(
  options: GuestMapOptions,
  range: DiskRange & { readonly signal?: AbortSignal | undefined } = {},
): AsyncGenerator<Extent> {
  const { start, end } = clipRange(range, options.virtualSize);
  const askHost = await options.looksPreallocated();
  for (let at = start; at < end; ) {
    range.signal?.throwIfAborted();
    for (const extent of joinCompressed(await options.resolve(at, end, EXTENTS_AT_A_TIME))) {
      at = extent.offset + extent.length;
      if (extent.kind === "unallocated") yield* mapUnallocated(options, extent, range.signal);
      else if (extent.kind === "data" && askHost) yield* splitAtHoles(options.dataStorage, extent);
      else yield ownExtent(extent);
    }
  }
}

/** Compressed clusters side by side are one extent: where each is stored does not matter here. */
function joinCompressed(extents: readonly ResolvedExtent[]): readonly ResolvedExtent[] {
  const joined: ResolvedExtent[] = [];
  let run: { -readonly [Key in keyof ResolvedExtent]: ResolvedExtent[Key] } | undefined;
  for (const extent of extents) {
    if (extent.kind === "compressed" && run !== undefined) {
      run.length += extent.length;
      continue;
    }
    run = extent.kind === "compressed" ? { ...extent } : undefined;
    joined.push(run ?? extent);
  }
  return joined;
}

function ownExtent(extent: ResolvedExtent): Extent {
  return {
    offset: extent.offset,
    length: extent.length,
    kind: extent.kind === "zero" ? "zero" : "data",
    present: true,
    stored: extent.kind !== "zero",
    depth: 0,
    hostOffset: extent.kind === "compressed" ? undefined : extent.hostOffset,
    compressed: extent.kind === "compressed",
  };
}

/** What this layer does not define is the backing file's; beyond its end, and without one, there are zeroes. */
async function* mapUnallocated(
  { backing }: GuestMapOptions,
  extent: ResolvedExtent,
  signal: AbortSignal | undefined,
): AsyncGenerator<Extent> {
  const end = extent.offset + extent.length;
  const backingEnd = Math.max(extent.offset, Math.min(end, backing?.size ?? 0));
  if (backing !== undefined && backingEnd > extent.offset) {
    const length = backingEnd - extent.offset;
    for await (const below of backing.map({ offset: extent.offset, length, ...(signal && { signal }) })) {
      yield { ...below, depth: below.depth + 1 };
    }
  }
  if (backingEnd === end) return;
  yield {
    offset: backingEnd,
    length: end - backingEnd,
    kind: "zero",
    present: false,
    stored: false,
    depth: 0,
    hostOffset:
      extent.hostOffset === undefined ? undefined : extent.hostOffset + (backingEnd - extent.offset),
    compressed: false,
  };
}

async function* splitAtHoles(storage: Storage, extent: ResolvedExtent): AsyncGenerator<Extent> {
  const fileSize = await storage.size();
  const whole = ownExtent(extent);
  for (let done = 0; done < extent.length; ) {
    const hostOffset = (extent.hostOffset as number) + done;
    const left = extent.length - done;
    const host =
      hostOffset >= fileSize
        ? ({ kind: "hole", length: left } as const)
        : ((await storage.extentAt?.(hostOffset)) ?? ({ kind: "data", length: left } as const));
    const length = Math.min(host.length, left);
    yield {
      ...whole,
      offset: extent.offset + done,
      length,
      hostOffset,
      kind: host.kind === "hole" ? "zero" : "data",
    };
    done += length;
  }
}
