import { beforeAll, describe, expect, it } from "vitest";
import { importProgram } from "../../compiler/import/importProgram.ts";
import type { SaveFile } from "../../compiler/import/lines.ts";
import { formatIssue } from "../../compiler/issue.ts";
import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import { hasShared } from "../shared.ts";
import { savesIn, stateFolders } from "./dumps.ts";

interface Imported {
  readonly folder: string;
  readonly saves: ReturnType<typeof savesIn>;
  readonly program: TableProgram;
}

/** Every state of a node that was ever recorded, whatever it was about. */
function importAll(): readonly Imported[] {
  return stateFolders().map((folder) => {
    const { interfaces: _, ...saves } = savesIn(folder);
    const attachment = { uplink: "eth0", pods: [], remotePodAddresses: [], localAddresses: [] };
    const { program, issues } = importProgram({ ...saves, node: "node", strategy: "recorded", attachment });
    if (program === undefined || issues.length > 0) throw new Error(issues.map(formatIssue).join("\n"));
    return { folder, saves, program };
  });
}

describe.runIf(hasShared)("every recorded state of a real node", () => {
  let states: readonly Imported[] = [];
  beforeAll(() => {
    states = importAll();
  });

  it("is read without an issue, and no rule is opaque", () => {
    const rules = states.flatMap(({ program }) =>
      program.families.flatMap(({ tables }) => tables.flatMap(({ chains }) => chains.flatMap((chain) => chain.rules))),
    );
    const opaque = rules.filter(
      ({ matches, target }) => target?.kind === "opaque" || matches.some(({ kind }) => kind === "opaque"),
    );
    expect(opaque).toEqual([]);
    // What there was to read when this was written; fewer means that something is no longer looked at.
    expect(states.length).toBeGreaterThanOrEqual(475);
    expect(rules.length).toBeGreaterThanOrEqual(43_879);
    expect(states.reduce((sum, { program }) => sum + program.sets.length, 0)).toBeGreaterThanOrEqual(5_844);
  });

  it("is printed again as the tools printed it", () => {
    for (const { folder, saves, program } of states) {
      const again = {
        ipv4: renderIptablesSave(program, 4),
        ipv6: renderIptablesSave(program, 6),
        sets: renderIpsetSave(program),
      };
      expect(iptablesText(again.ipv4), folder).toEqual(iptablesText(saves.iptablesSave?.text));
      expect(iptablesText(again.ipv6), folder).toEqual(iptablesText(saves.ip6tablesSave?.text));
      expect(ipsetText(again.sets), folder).toEqual(ipsetText(saves.ipsetSave?.text));
    }
  });
});

/** Without dates, and without the counters of built-in chains, which count traffic and not rules. */
function iptablesText(text: SaveFile["text"] = ""): string {
  return text.replace(/^#.*\n/gm, "").replace(/^(:\S+ \S+) \[\d+:\d+\]/gm, "$1");
}

/** Without the seed of a set's hash, which the kernel draws. */
function ipsetText(text: SaveFile["text"] = ""): string {
  return text.replace(/ initval 0x[0-9a-f]+/g, "");
}
