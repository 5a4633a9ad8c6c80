/** The words of a command line: spaces separate them, and nothing quotes a space, as in qemu-io. */
export function splitWords(line: string): string[] {
  return line.split(" ").filter((word) => word !== "");
}
