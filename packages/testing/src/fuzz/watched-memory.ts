/** Watches how much memory is asked for: `new Uint8Array(n)` and its like, by whoever runs meanwhile. */

interface Watch {
  /** Bytes of one array. */
  readonly most: number;
  /** The first that was larger. */
  found: string | undefined;
}

const WATCHED = [
  "Uint8Array",
  "Uint16Array",
  "Uint32Array",
  "Int32Array",
  "Float64Array",
  "BigUint64Array",
] as const;
type Watched = (typeof WATCHED)[number];

let watch: Watch | undefined;
let isInstalled = false;

/** Replaces the constructors of this process, for good; what they make is what it was. */
function install(): void {
  if (isInstalled) return;
  isInstalled = true;
  for (const name of WATCHED) watchConstructor(name);
}

function watchConstructor(name: Watched): void {
  const original = globalThis[name] as unknown as new (...args: unknown[]) => ArrayBufferView;
  const unit = (globalThis[name] as { readonly BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT;
  const watched: typeof original = new Proxy(original, {
    construct: (target, args: unknown[], newTarget) => {
      const [length] = args;
      if (watch !== undefined && typeof length === "number" && length * unit > watch.most) {
        watch.found ??= `${name} of ${length * unit} bytes (${new Error().stack?.split("\n").slice(2, 7).join(" ").replaceAll(/\s+/g, " ")})`;
      }
      return Reflect.construct(target, args, newTarget === watched ? target : newTarget) as ArrayBufferView;
    },
  });
  Reflect.set(globalThis, name, watched);
}

/** Runs `work`; answers what was too large in it, if anything was. */
export async function watchingMemory<Result>(
  most: number,
  work: () => Promise<Result>,
): Promise<{ readonly result: Result; readonly tooLarge: string | undefined }> {
  install();
  const own: Watch = { most, found: undefined };
  watch = own;
  try {
    const result = await work();
    return { result, tooLarge: own.found };
  } finally {
    watch = undefined;
  }
}
