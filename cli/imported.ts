/** A real node's saves, read as the program that its packets meet. */
import { type ImportedProgram, importProgram, type NodeSaves } from "../compiler/import/importProgram.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Strategy } from "../compiler/strategies/strategy.ts";
import type { TableProgram } from "../dataplane/program.ts";
import { importedLane, type Lane } from "../verify/lane.ts";
import type { ImportFlags, StrategyFlags } from "./flags.ts";
import type { IdleFlags } from "./idle.ts";
import { readText } from "./input.ts";
import { InvalidInput, type Io, UsageError } from "./io.ts";
import { ownSettings, settingsOf, strategiesOf } from "./lanes.ts";
import type { Session } from "./session.ts";

const SAVES = ["iptablesSave", "ip6tablesSave", "ipsetSave"] as const;

/** Whether the flags ask for a real node's rules instead of compiled ones. */
export function asksForImport(flags: ImportFlags): boolean {
  return SAVES.some((name) => flags[name] !== undefined);
}

/** What says something of saves alone. */
export function savesFlags(flags: ImportFlags): IdleFlags {
  return {
    flags: ["--node", "--interfaces"],
    why: "goes with a node's saves: --iptables-save, --ip6tables-save or --ipset-save",
    isIdle: !asksForImport(flags),
  };
}

/** One lane for each chosen strategy, which here only says how pods are attached; packets meet that node alone. */
export async function importedLanes(
  flags: ImportFlags & StrategyFlags,
  cluster: ResolvedCluster,
  session: Session,
): Promise<readonly Lane[]> {
  const lanes: Lane[] = [];
  for (const strategy of strategiesOf(flags)) {
    const program = await readNode({ flags, strategy, cluster, session });
    lanes.push(importedLane(program, strategy, { walk: true }));
  }
  return lanes;
}

export interface ReadNodeOptions {
  readonly flags: ImportFlags & StrategyFlags;
  readonly strategy: Strategy;
  readonly cluster: ResolvedCluster;
  readonly session: Session;
}

/** Reads the saves; issues go to stderr, and errors among them end the command. */
export async function readNode({ flags, strategy, cluster, session }: ReadNodeOptions): Promise<TableProgram> {
  const node = nodeOf(flags, cluster);
  const settings = ownSettings(strategy, settingsOf(flags));
  const saves: NodeSaves = {
    ...(await readSaves(flags, session.io)),
    node,
    strategy: strategy.name,
    attachment: strategy.attach(cluster, { node, settings }),
  };
  const { program, issues }: ImportedProgram = importProgram(saves);
  await session.report(issues);
  if (program === undefined) throw new InvalidInput();
  return program;
}

/** The files that the flags name. */
export async function readSaves(
  flags: ImportFlags,
  io: Io,
): Promise<Pick<NodeSaves, (typeof SAVES)[number] | "interfaces">> {
  const file = async (path: string) => ({ name: path, text: await readText(io, path) });
  return {
    ...(flags.iptablesSave !== undefined && { iptablesSave: await file(flags.iptablesSave) }),
    ...(flags.ip6tablesSave !== undefined && { ip6tablesSave: await file(flags.ip6tablesSave) }),
    ...(flags.ipsetSave !== undefined && { ipsetSave: await file(flags.ipsetSave) }),
    ...(flags.interfaces !== undefined && { interfaces: await file(flags.interfaces) }),
  };
}

/** The node that the saves come from. */
export function nodeOf({ node }: ImportFlags, { model }: ResolvedCluster): string {
  const names = model.nodes.map(({ name }) => name);
  if (node !== undefined) {
    if (names.includes(node)) return node;
    throw new UsageError(`unknown node "${node}"; there are ${names.join(", ") || "no nodes"}`);
  }
  const [only, ...more] = names;
  if (only !== undefined && more.length === 0) return only;
  throw new UsageError(`--node is needed: which of ${names.join(", ")} do the saves come from?`);
}
