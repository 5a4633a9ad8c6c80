/** What an input of the benchmark is. Each kind has a file of its own in this folder. */
import type { CommandLine } from "../measure/measure-process.ts";

export type ImageFormat = "raw" | "qcow2";

export type InputName =
  | "disk"
  | "disk-qcow2"
  | "disk-deflate"
  | "disk-unordered"
  | "disk-zstd"
  | "fragmented"
  | "overlays"
  | "empty"
  | "empty-qcow2"
  | "preallocated"
  | "full"
  | "full-qcow2";

export type InputPaths = Readonly<Record<InputName, string>>;

/** Bytes, multiples of 4096. */
export interface InputSizes {
  /** The operating system's disk, and how much of it is data. */
  readonly disk: number;
  readonly diskData: number;
  /** The disk that is full of noise. */
  readonly full: number;
  /** The empty disk, and what the preallocated image is resized to. */
  readonly sparse: number;
  /** The part of the preallocated image that has clusters. */
  readonly preallocated: number;
}

/** Where inputs come from: the same recipe gives the same bytes on every machine. */
export interface Recipe {
  /** 32 bits. */
  readonly seed: number;
  readonly sizes: InputSizes;
  /** A raw disk of the user's in place of the generated one. It is only read. */
  readonly diskFile: string | undefined;
}

/** qemu-img, or ours where there is none: makes images and judges results. */
export interface ImageTool {
  readonly name: string;
  /** The command line up to the words of qemu-img. */
  readonly command: CommandLine;
}

export interface MakeContext extends Recipe {
  /** What to make. It lies in a folder of its own, where it may be accompanied by other files. */
  readonly path: string;
  /** Of all inputs; those of `content` and `needs` are there. */
  readonly paths: InputPaths;
  /** Runs the tool that makes images. @throws Error if it fails */
  img(args: readonly string[]): Promise<void>;
}

export interface InputKind {
  readonly name: InputName;
  /** As the report says: "an empty disk of 1 TiB". */
  title(sizes: InputSizes): string;
  /** The file's name; unique among all inputs. */
  readonly file: string;
  readonly format: ImageFormat;
  /** The raw input with the same content, which converted results are compared with; undefined if none is converted. */
  readonly content: InputName | undefined;
  /** True for its content in another format: the report lists what it was made of instead. */
  readonly isConversion?: true;
  /** True if its clusters are compressed. Default false. */
  readonly isCompressed?: boolean;
  /** Inputs that it is made of, besides `content`. */
  readonly needs: readonly InputName[];
  /** Bytes that it takes on the host, at most; a little for metadata may be left out. */
  bytes(sizes: InputSizes): number;
  make(context: MakeContext): Promise<void>;
}
