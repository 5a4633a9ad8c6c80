/** Extended attributes of open files: what programs note about them, and, on Linux, their access control lists. */
export interface ExtendedAttributes {
  /** Their names; none where the file system has no such thing. */
  list(fd: number): readonly string[];
  /** Undefined if it has none of that name, or it may not be read. */
  get(fd: number, name: string): Uint8Array | undefined;
  /** 0, or the negative errno. */
  set(fd: number, name: string, value: Uint8Array): number;
  /** 0, or the negative errno. */
  remove(fd: number, name: string): number;
}

/** The four system calls; each returns -1 for a failure. */
export interface AttributeCalls {
  list(fd: number, into: Uint8Array | null, bytes: number): number;
  get(fd: number, name: Uint8Array, into: Uint8Array | null, bytes: number): number;
  set(fd: number, name: Uint8Array, value: Uint8Array, bytes: number, flags: number): number;
  remove(fd: number, name: Uint8Array): number;
}

export function extendedAttributes(calls: AttributeCalls, errno: () => number): ExtendedAttributes {
  return {
    list: (fd) => {
      const names = readAll((into, bytes) => calls.list(fd, into, bytes));
      return names === undefined ? [] : Buffer.from(names).toString("latin1").split("\0").filter(Boolean);
    },
    get: (fd, name) => readAll((into, bytes) => calls.get(fd, cName(name), into, bytes)),
    set: (fd, name, value) => (calls.set(fd, cName(name), value, value.length, 0) === 0 ? 0 : errno()),
    remove: (fd, name) => (calls.remove(fd, cName(name)) === 0 ? 0 : errno()),
  };
}

/** Asks for the length first. Undefined for a failure, which one that grows meanwhile is, too. */
function readAll(read: (into: Uint8Array | null, bytes: number) => number): Uint8Array | undefined {
  const length = read(null, 0);
  if (length < 0) return undefined;
  const into = new Uint8Array(length);
  if (length === 0) return into;
  const found = read(into, length);
  return found < 0 ? undefined : into.subarray(0, found);
}

/** Names are bytes to the host, which "latin1" keeps as they are. */
function cName(name: string): Buffer {
  return Buffer.from(`${name}\0`, "latin1");
}
