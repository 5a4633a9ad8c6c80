/**
 * Every option that qemu-img accepts is one of ours, and a case uses it. The options are asked of qemu-img itself; the
 * cases are those that `options-read` and `options-change` run.
 */
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { casesOf } from "../src/options/case-list.ts";
import { ourCommandNames, ourSpellings, spellingsUsed } from "../src/options/our-options.ts";
import { commandsOf, knows, spellingsOf } from "../src/options/qemu-options.ts";
import { describeConformance } from "../src/requires.ts";

const GROUP = "every option of qemu-img is there and tried";

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it("every command", async () => {
    const commands = await commandsOf(qemu);
    expect(commands).toHaveLength(15);
    expect(ourCommandNames()).toEqual(expect.arrayContaining(commands));
    for (const command of commands) expect(casesOf(command).length).toBeGreaterThan(2);
    caseRan(GROUP, qemu.version);
  });

  it("every option", async () => {
    for (const command of await commandsOf(qemu)) {
      const claimed = await spellingsOf(qemu, command);
      expect(claimed).toEqual(expect.arrayContaining(["--help", "-h"]));
      const ours = await ourSpellings(command);
      const tried = new Set<string>();
      for (const drawn of casesOf(command)) {
        const [name, ...words] = drawn.words;
        expect(name).toBe(command);
        for (const spelling of spellingsUsed(words, ours)) tried.add(spelling);
      }
      const lacking: string[] = [];
      for (const spelling of claimed) {
        if (ours.has(spelling) && tried.has(spelling)) continue;
        if (await knows(qemu, command, spelling)) lacking.push(spelling);
      }
      expect({ command, lacking }).toEqual({ command, lacking: [] });
      caseRan(GROUP, qemu.version, claimed.length);
    }
  });
});
