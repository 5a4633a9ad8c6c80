/** Which options a qemu-img accepts, asked of itself: its help leaves some out, and names others that it has not. */
import type { QemuRelease } from "../qemu-release.ts";

/** Commands that `qemu-img --help` lists. */
export async function commandsOf(qemu: QemuRelease): Promise<string[]> {
  const { stdout } = await qemu.img(["--help"]);
  const list = stdout.split("Recognized commands")[1]?.split("Supported image formats")[0] ?? "";
  return Array.from(list.matchAll(/^ {2}(\w+) - /gm), ([, name]) => name as string);
}

/**
 * Spellings with their dashes. The long ones are exactly those that there are; of the letters, the help claims a few that
 * {@link knows} denies.
 */
export async function spellingsOf(qemu: QemuRelease, command: string): Promise<string[]> {
  const [long, short] = await Promise.all([longOptions(qemu, command), claimedLetters(qemu, command)]);
  return [...long, ...short];
}

/** Whether it takes `-x`; other spellings are taken at their word. */
export async function knows(qemu: QemuRelease, command: string, spelling: string): Promise<boolean> {
  if (spelling.startsWith("--")) return true;
  const { stderr } = await qemu.tryImg([command, spelling]);
  return !stderr.includes("invalid option");
}

/** An empty name is the beginning of every option's, so that the C library lists them all as what could be meant. */
async function longOptions(qemu: QemuRelease, command: string): Promise<string[]> {
  const { stderr } = await qemu.tryImg([command, "--=?"]);
  const list = stderr.split("possibilities:")[1] ?? "";
  return Array.from(list.matchAll(/'(--[\w-]+)'/g), ([, name]) => name as string);
}

/** Letters of which the help does not tell. */
const UNTOLD: Readonly<Record<string, readonly string[]>> = { map: ["-s", "-l"] };

async function claimedLetters(qemu: QemuRelease, command: string): Promise<string[]> {
  const { stdout } = await qemu.img([command, "--help"]);
  const told = Array.from(stdout.matchAll(/(?<![\w-])(-[a-zA-Z])\b/g), ([, letter]) => letter as string);
  return [...new Set([...told, ...(UNTOLD[command] ?? [])])];
}
