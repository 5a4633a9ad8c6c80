/** What is known about the images of a folder, and how they lie upon each other. */
import type { CheckResult, Qcow2Error, Qcow2HeaderInfo } from "@qcow2/core";
import type { ImageUse } from "../locks/image-locks.ts";

/** An image, and the overlays that lie upon it. */
export interface ImageNode {
  /** From the working directory; relative if the folder was named so. */
  readonly path: string;
  /** Other paths by which the same file was met: links to it. */
  readonly otherPaths: readonly string[];
  /** False for a file that is here only because an image names it as its backing file. */
  readonly isListed: boolean;
  /** "qcow2", "raw" or another format's name; undefined if that is not known, or the file is not there. */
  readonly format: string | undefined;
  /** Bytes of the virtual disk. */
  readonly virtualSize: number | undefined;
  /** Bytes that the file occupies, with those of its external data file. */
  readonly actualSize: number | undefined;
  readonly modified: Date | undefined;
  /** What the header of a qcow2 image says. */
  readonly info: Qcow2HeaderInfo | undefined;
  /** What other processes do with it; undefined where their locks do not tell. */
  readonly use: ImageUse | undefined;
  /** What the full check found; undefined if there was none. */
  readonly check: CheckResult | undefined;
  /** Everything that was noticed, the worst first. */
  readonly problems: readonly ImageProblem[];
  readonly health: ImageHealth;
  /** The images that have this one as their backing file. A chain that loops is cut at one place. */
  readonly overlays: readonly ImageNode[];
}

/**
 * "good": nothing is known against it; "warning": it can be used, but deserves a look; "broken": it cannot be opened or
 * not be trusted; "unknown": it was not looked at.
 */
export type ImageHealth = "good" | "warning" | "broken" | "unknown";

export interface ImageProblem {
  /** An "error" makes the image broken; a "note" is no fault. */
  readonly severity: "error" | "warning" | "note";
  readonly code: ImageProblemCode;
  /** A few words for people. */
  readonly message: string;
  /** Why, where an operation failed. */
  readonly cause?: Qcow2Error | undefined;
}

/** Stable names of what can be noticed about an image. */
export type ImageProblemCode =
  /** It is named as a backing file, and not there. */
  | "missing"
  /** The host does not let it be read. */
  | "unreadable"
  /** It was not looked at: what an image names may be followed only so far. */
  | "not-followed"
  /** A header or a table that makes no sense, or lies beyond the end of the file. */
  | "invalid"
  /** A format, a version or a feature that this library does not know. */
  | "unsupported"
  /** Marked as corrupt. */
  | "corrupt"
  /** It was not closed properly. */
  | "dirty"
  | "backing-missing"
  /** A file further down the chain cannot be used. */
  | "backing-broken"
  /** The chain of backing files comes back to this image. */
  | "backing-loop"
  /** The backing file was not looked at. */
  | "backing-unknown"
  /** The image does not say which format its backing file has. */
  | "backing-format-missing"
  /** The backing file has another format than the image says. */
  | "backing-format-wrong"
  /** The virtual disk is smaller than that of the backing file. */
  | "smaller-than-backing"
  | "data-file-missing"
  /** The external data file was not looked at. */
  | "data-file-unknown"
  /** The full check found damage. */
  | "corruptions"
  /** The full check found clusters that nothing refers to. */
  | "leaks"
  /** The full check could not be made, or not be completed. */
  | "not-checked";

/** A path that could not be listed or looked at. */
export interface UnreadablePath {
  readonly path: string;
  readonly error: Qcow2Error;
}

export interface ImageTrees {
  /** The images that have no backing file, or whose backing file is not an image here; each with what lies upon it. */
  readonly trees: readonly ImageNode[];
  /** Folders that could not be listed, and paths that were asked for and are not there. */
  readonly unreadable: readonly UnreadablePath[];
}
