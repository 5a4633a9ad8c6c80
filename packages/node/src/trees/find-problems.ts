/** What is to be said about an image, and how healthy that makes it. */
import { isQcow2Error, type Qcow2Error } from "@qcow2/core";
import type { CollectedImage } from "./collect-images.ts";
import type { ImageHealth, ImageProblem } from "./image-tree.ts";

/** What is known about the file that an image has as its backing file. */
export interface BackingState {
  readonly problems: readonly ImageProblem[];
  /** The chain comes back to the image itself. */
  readonly isLoop: boolean;
}

const RANK = { error: 0, warning: 1, note: 2 } as const;

/** The worst first. `backing` is undefined for an image without a backing file. */
export function findProblems(
  image: CollectedImage,
  backing: BackingState | undefined,
): readonly ImageProblem[] {
  const problems = [
    ...contentProblems(image),
    ...markProblems(image),
    ...(backing === undefined ? [] : backingProblems(image, backing)),
    ...dataFileProblems(image),
    ...checkProblems(image),
  ];
  return problems.sort((a, b) => RANK[a.severity] - RANK[b.severity]);
}

export function healthOf(problems: readonly ImageProblem[]): ImageHealth {
  if (problems.some(({ severity }) => severity === "error")) return "broken";
  if (problems.some(({ severity }) => severity === "warning")) return "warning";
  return problems.some(({ code }) => code === "not-followed") ? "unknown" : "good";
}

/** Names that promise a qcow2 image. */
const QCOW2_NAME = /\.qcow2$/i;

function* contentProblems({
  path,
  absence,
  facts,
  content,
  isListed,
}: CollectedImage): Generator<ImageProblem> {
  const cause = absence?.error ?? content.error;
  if (absence?.reason === "missing") yield problem("error", "missing", "missing", cause);
  else if (absence?.reason === "not-followed") {
    const isDevice = facts?.kind === "block-device";
    yield problem("note", "not-followed", isDevice ? "a device; not opened" : "not looked at", cause);
  } else if (cause !== undefined) yield unusable(cause);
  else if (isListed && content.format === "raw" && QCOW2_NAME.test(path)) {
    yield problem("error", "invalid", "not a qcow2 image, whatever its name says");
  }
}

const UNKNOWN_HERE = ["unsupported-format", "unsupported-version", "unsupported-feature"] as const;

function unusable(cause: Qcow2Error): ImageProblem {
  if (UNKNOWN_HERE.some((code) => isQcow2Error(cause, code))) {
    return problem("warning", "unsupported", cause.message, cause);
  }
  const isHost = isQcow2Error(cause, "io") || isQcow2Error(cause, "unsupported");
  return problem("error", isHost ? "unreadable" : "invalid", cause.message, cause);
}

function* markProblems({ content: { info, use } }: CollectedImage): Generator<ImageProblem> {
  if (info?.corrupt === true) yield problem("error", "corrupt", "marked as corrupt");
  // While it is written to, the mark says nothing.
  if (info?.dirty === true && use !== "writing") yield problem("warning", "dirty", "was not closed properly");
}

function* backingProblems(
  { backing, content }: CollectedImage,
  { problems, isLoop }: BackingState,
): Generator<ImageProblem> {
  if (backing === undefined) return;
  const name = `'${content.backingName}'`;
  const isBroken = healthOf(problems) === "broken";
  if (isLoop) yield problem("error", "backing-loop", "its chain of backing files comes back to itself");
  else if (backing.absence?.reason === "missing") {
    yield problem("error", "backing-missing", `its backing file ${name} is missing`, backing.absence.error);
  } else if (backing.absence?.reason === "not-followed") {
    yield problem(
      "note",
      "backing-unknown",
      `its backing file ${name} was not looked at`,
      backing.absence.error,
    );
  } else if (isBroken) yield problem("error", "backing-broken", `its backing file ${name} cannot be used`);
  const recorded = content.info?.backingFormat;
  if (content.info !== undefined && recorded === undefined) {
    yield problem("warning", "backing-format-missing", "does not say which format its backing file has");
  }
  yield* formatProblems(recorded, backing.content.format);
  const [own, below] = [content.virtualSize, backing.content.virtualSize];
  if (own !== undefined && below !== undefined && own < below) {
    yield problem("note", "smaller-than-backing", "smaller than its backing file");
  }
}

function* formatProblems(recorded: string | undefined, found: string | undefined): Generator<ImageProblem> {
  if (recorded === undefined || found === undefined || recorded === found) return;
  const message = `says that its backing file is ${recorded}, which begins like ${found}`;
  if (recorded === "qcow2") yield problem("error", "backing-format-wrong", message);
  // Right if the guest's data looks so, and else other data than is meant.
  if (recorded === "raw") yield problem("warning", "backing-format-wrong", message);
}

function* dataFileProblems({ dataFile }: CollectedImage): Generator<ImageProblem> {
  if (dataFile?.absence === undefined) return;
  const { reason, error } = dataFile.absence;
  const name = `'${dataFile.name}'`;
  if (reason === "not-followed") {
    yield problem("note", "data-file-unknown", `its data file ${name} was not looked at`, error);
  } else {
    const state = reason === "missing" ? "is missing" : "cannot be read";
    yield problem("error", "data-file-missing", `its data file ${name} ${state}`, error);
  }
}

function* checkProblems({ check }: CollectedImage): Generator<ImageProblem> {
  if (check === undefined) return;
  if ("error" in check) {
    const isInUse = isQcow2Error(check.error, "locked");
    const reason = isInUse ? "in use by another process" : check.error.message;
    yield problem(isInUse ? "warning" : "error", "not-checked", `not checked: ${reason}`, check.error);
    return;
  }
  const { corruptions, leaks, checkErrors } = check.result;
  if (corruptions > 0) {
    yield problem("error", "corruptions", `${count(corruptions, "error")} in the metadata`);
  }
  if (leaks > 0) yield problem("warning", "leaks", count(leaks, "leaked cluster"));
  if (checkErrors > 0) yield problem("error", "not-checked", "the check could not be completed");
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function problem(
  severity: ImageProblem["severity"],
  code: ImageProblem["code"],
  message: string,
  cause?: Qcow2Error,
): ImageProblem {
  return { severity, code, message, cause };
}
