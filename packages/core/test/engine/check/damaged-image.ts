/** Images in memory whose tables a test can reach into. */
import {
  type CheckFinding,
  type CheckOptions,
  type CheckResult,
  checkStorage,
  MemoryStorage,
  Qcow2Image,
} from "@qcow2/core";

/** An image as bytes, with the places that tests damage. All numbers are big-endian, as on disk. */
export class DamagedImage {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get clusterSize(): number {
    return 2 ** this.view.getUint32(20);
  }

  get l1Offset(): number {
    return this.u64(40);
  }

  get refcountTableOffset(): number {
    return this.u64(48);
  }

  get firstRefcountBlock(): number {
    return this.u64(this.refcountTableOffset);
  }

  /** Host offset of the L2 table that an entry of the active L1 table points at. */
  l2Offset(l1Index = 0): number {
    return Number(this.view.getBigUint64(this.l1Offset + l1Index * 8) & 0x00fffffffffffe00n);
  }

  u64(at: number): number {
    return Number(this.view.getBigUint64(at));
  }

  /** Replaces the 64-bit value at `at`. */
  change(at: number, change: (value: bigint) => bigint): this {
    this.view.setBigUint64(at, BigInt.asUintN(64, change(this.view.getBigUint64(at))));
    return this;
  }

  /** Changes a refcount of 16 bits. */
  changeRefcount(cluster: number, change: (refcount: number) => number): this {
    const at = this.firstRefcountBlock + cluster * 2;
    this.view.setUint16(at, change(this.view.getUint16(at)));
    return this;
  }

  async check(options: CheckOptions = {}): Promise<{ result: CheckResult; findings: CheckFinding[] }> {
    const findings: CheckFinding[] = [];
    const storage = new MemoryStorage({ bytes: this.bytes, readOnly: true });
    const result = await checkStorage(storage, {
      ...options,
      onFinding: (finding) => findings.push(finding),
    });
    return { result, findings };
  }
}

/** 4 KiB clusters, 8 MiB disk: four L2 tables, of which the first two map data. */
export async function makeImage(
  options: {
    readonly refcountBits?: number;
    readonly extendedL2?: boolean;
    readonly clusterSize?: number;
  } = {},
): Promise<DamagedImage> {
  const clusterSize = options.clusterSize ?? 4096;
  const storage = new MemoryStorage();
  const kept = keepOpen(storage);
  const image = await Qcow2Image.create({ ...options, storage: kept, size: clusterSize * 2048, clusterSize });
  await image.write({ offset: 0, from: new Uint8Array(clusterSize * 8).fill(1) });
  await image.write({ offset: clusterSize * 600, from: new Uint8Array(clusterSize * 4).fill(2) });
  await image.close();
  const bytes = new Uint8Array(await storage.size());
  await storage.read(0, bytes);
  return new DamagedImage(bytes);
}

/** A storage that survives the image that closes it. */
export function keepOpen(storage: MemoryStorage): MemoryStorage {
  return new Proxy(storage, {
    get: (target, property) => {
      if (property === "close") return async () => undefined;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
