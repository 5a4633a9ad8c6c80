/**
 * The name of a backing file or data file as qemu-img prints it: a relative name is put behind the directory part
 * of the image's own name, without tidying up ("images/../base.qcow2"). Names with a protocol stay as they are.
 */
export function combineNames(imageName: string, name: string): string {
  if (isAbsolute(name) || hasProtocol(name)) return name;
  const backslash = process.platform === "win32" ? imageName.lastIndexOf("\\") : -1;
  return imageName.slice(0, Math.max(imageName.lastIndexOf("/"), backslash) + 1) + name;
}

function isAbsolute(name: string): boolean {
  return name.startsWith("/") || (process.platform === "win32" && /^([a-z]:)?[\\/]/i.test(name));
}

function hasProtocol(name: string): boolean {
  return /^[^/\\]*:/.test(name);
}
