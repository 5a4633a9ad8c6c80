/** The commands by name, in alphabetical order. Each is loaded only when it is called, so that the others cost no start-up time. */
import type { Command } from "./command.ts";

interface CommandEntry {
  readonly summary: string;
  load(): Promise<Command>;
}

export const COMMANDS: Readonly<Record<string, CommandEntry>> = {
  amend: {
    summary: "Change options that an image was created with",
    load: async () => (await import("./commands/amend.ts")).amendCommand,
  },
  bench: {
    summary: "Measure how long many reads or writes of an image take",
    load: async () => (await import("./commands/bench.ts")).benchCommand,
  },
  bitmap: {
    summary: "Add, remove, clear or merge persistent bitmaps",
    load: async () => (await import("./commands/bitmap.ts")).bitmapCommand,
  },
  check: {
    summary: "Check an image's metadata for errors and leaks",
    load: async () => (await import("./commands/check.ts")).checkCommand,
  },
  commit: {
    summary: "Write what an overlay holds into its backing file",
    load: async () => (await import("./commands/commit.ts")).commitCommand,
  },
  compare: {
    summary: "Compare the content of two images",
    load: async () => (await import("./commands/compare.ts")).compareCommand,
  },
  completion: {
    summary: "Print a script that lets a shell complete this command's words",
    load: async () => (await import("./commands/completion.ts")).completionCommand,
  },
  convert: {
    summary: "Copy images to a new image, in the same or another format",
    load: async () => (await import("./commands/convert.ts")).convertCommand,
  },
  create: {
    summary: "Create an empty image",
    load: async () => (await import("./commands/create.ts")).createCommand,
  },
  dd: {
    summary: "Copy blocks of an image to a new image",
    load: async () => (await import("./commands/dd.ts")).ddCommand,
  },
  help: {
    summary: "Explain a command",
    load: async () => (await import("./commands/help.ts")).helpCommand,
  },
  info: {
    summary: "Show what an image is: format, sizes, snapshots, backing files",
    load: async () => (await import("./commands/info.ts")).infoCommand,
  },
  io: {
    summary: "Read, write and inspect an image by single commands, as qemu-io does",
    load: async () => (await import("./commands/io.ts")).ioCommand,
  },
  ls: {
    summary: "Show the images of a folder as trees of backing files, with their health",
    load: async () => (await import("./commands/ls.ts")).lsCommand,
  },
  map: {
    summary: "List where an image's data and zeroes are",
    load: async () => (await import("./commands/map.ts")).mapCommand,
  },
  measure: {
    summary: "Tell how large an image would be",
    load: async () => (await import("./commands/measure.ts")).measureCommand,
  },
  rebase: {
    summary: "Give an overlay another backing file",
    load: async () => (await import("./commands/rebase.ts")).rebaseCommand,
  },
  resize: {
    summary: "Change the virtual size of an image",
    load: async () => (await import("./commands/resize.ts")).resizeCommand,
  },
  snapshot: {
    summary: "List, take, apply or delete internal snapshots",
    load: async () => (await import("./commands/snapshot.ts")).snapshotCommand,
  },
};

export function findCommand(name: string): CommandEntry | undefined {
  return Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
}
