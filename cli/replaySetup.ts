/** The flags of `replay` as the sides that a recording goes through. */

import type { NodeSaves } from "../compiler/import/importProgram.ts";
import type { ManifestFile } from "../compiler/manifest/parse.ts";
import { clustersOfChange, type ReplaySetup, type SideSetup } from "../replay/setup.ts";
import { REFERENCE } from "../verify/lane.ts";
import type { ImportFlags, InputFlags, StrategyFlags } from "./flags.ts";
import { asksForImport, readSaves } from "./imported.ts";
import { readManifests } from "./input.ts";
import { type Io, UsageError } from "./io.ts";
import { choicesOf, ownSettings, settingsOf } from "./lanes.ts";

export interface SetupFlags extends InputFlags, StrategyFlags, ImportFlags {
  readonly before?: string;
  readonly after?: string;
  readonly prune?: boolean;
  readonly capturedOn?: readonly string[];
}

/** What is compared: nothing, two states of the cluster, or strategies. */
export function comparisonOf({ before, after, strategy }: SetupFlags): "none" | "change" | "strategies" {
  if (before !== undefined || after !== undefined) return "change";
  return choicesOf({ strategy }).length > 1 ? "strategies" : "none";
}

export async function readSetup(flags: SetupFlags, io: Io): Promise<ReplaySetup> {
  const comparison = comparisonOf(flags);
  const choices = choicesOf(flags);
  if (comparison === "change" && choices.length > 1) {
    throw new UsageError("--before and --after compare two states under one strategy: name one with -s");
  }
  if (flags.prune === true && comparison !== "change") throw new UsageError("--prune goes with --before or --after");
  const isWhole = flags.before !== undefined && flags.after !== undefined && flags.filename.length === 0;
  const files = isWhole ? [] : await readManifests(io, flags.filename);
  const saves = await savesOf(flags, io);
  const { capturedOn: places = [] } = flags;
  const sides = (cluster: number): SideSetup[] =>
    sidesOf(flags, cluster).map((side) => ({
      ...side,
      ...(saves !== undefined && { saves }),
    }));
  const other = places.find((place) => !place.includes("/") && place.split(":")[0] !== saves?.node);
  if (saves !== undefined && other !== undefined) {
    throw new UsageError(`--captured-on ${other}, and the saves are those of ${saves.node}: one node at a time`);
  }
  if (saves !== undefined && choices.some(({ kind }) => kind === "reference")) {
    throw new UsageError("the reference is the API text and has no program; choose a solution for the saves");
  }
  if (comparison !== "change") return { clusters: [{ files }], sides: sides(0), main: 0, places };
  const over = async (folder: string | undefined): Promise<readonly ManifestFile[] | undefined> =>
    folder === undefined ? undefined : readManifests(io, [folder]);
  const [before, after] = [await over(flags.before), await over(flags.after)];
  const [side] = sides(0);
  if (side === undefined) throw new UsageError("name a strategy with -s");
  const { saves: _saves, ...compiled } = side;
  return {
    clusters: clustersOfChange({ files, before, after, prune: flags.prune === true }),
    sides: [
      { ...side, name: "before", cluster: 0 },
      // What a real node holds is what stands before the change; after it is what the same node would hold.
      { ...compiled, name: "after", cluster: 1, ...(saves !== undefined && { only: saves.node }) },
    ],
    main: 1,
    places,
  };
}

/** The sides of a replay whose cluster is a story's. */
export function storySetup(flags: SetupFlags): ReplaySetup {
  const { capturedOn: places = [] } = flags;
  return { clusters: [], sides: sidesOf(flags, 0), main: 0, places };
}

/** One for each strategy chosen. */
function sidesOf(flags: StrategyFlags, cluster: number): readonly SideSetup[] {
  const settings = settingsOf(flags);
  return choicesOf(flags).map((choice) => {
    if (choice.kind === "reference") return { name: REFERENCE, cluster, strategy: REFERENCE, settings: [] };
    const { strategy } = choice;
    return { name: strategy.name, cluster, strategy: strategy.name, settings: [...ownSettings(strategy, settings)] };
  });
}

async function savesOf(flags: SetupFlags, io: Io): Promise<Omit<NodeSaves, "attachment" | "strategy"> | undefined> {
  if (!asksForImport(flags)) return undefined;
  return { ...(await readSaves(flags, io)), node: flags.node ?? "" };
}
