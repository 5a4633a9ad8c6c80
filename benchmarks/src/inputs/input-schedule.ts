/** When inputs are made and removed: as late, and as soon, as the cases allow. */
import { INPUTS, withWhatTheyNeed } from "./all-inputs.ts";
import type { InputName, InputSizes } from "./input-kind.ts";

export interface ScheduledCase {
  /** Inputs to make before the case, in this order. */
  readonly make: readonly InputName[];
  /** Inputs that no later case needs. */
  readonly remove: readonly InputName[];
}

/** @param reads for each case, in the order of the cases, the inputs that it reads */
export function scheduleInputs(reads: readonly (readonly InputName[])[]): readonly ScheduledCase[] {
  const needed = reads.map(withWhatTheyNeed);
  const made = new Set<InputName>();
  return needed.map((names, index) => {
    const make = names.filter((name) => !made.has(name));
    for (const name of make) made.add(name);
    const later = new Set(needed.slice(index + 1).flat());
    return { make, remove: names.filter((name) => !later.has(name)) };
  });
}

/** The most that all inputs and one output take at a time, in bytes. @param outputs of each case, in bytes */
export function largestUse(
  schedule: readonly ScheduledCase[],
  outputs: readonly number[],
  sizes: InputSizes,
): number {
  const present = new Set<InputName>();
  let largest = 0;
  for (const [index, { make, remove }] of schedule.entries()) {
    for (const name of make) present.add(name);
    const inputs = [...present].reduce((sum, name) => sum + INPUTS[name].bytes(sizes), 0);
    largest = Math.max(largest, inputs + (outputs[index] ?? 0));
    for (const name of remove) present.delete(name);
  }
  return largest;
}
