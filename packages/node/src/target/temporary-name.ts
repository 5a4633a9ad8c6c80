/**
 * A name for a file beside a target: hidden, short enough beside any name, and told apart from others by chance alone.
 */
export async function temporaryName(): Promise<string> {
  // Loaded only where a file is made, because it takes longer to load than many a command takes.
  const { randomBytes } = await import("node:crypto");
  return `.qcow2-${randomBytes(8).toString("hex")}.part`;
}
