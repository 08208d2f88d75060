/** Who answers the packets of a case: the programs of a strategy, the API text, or what a program became as text. */
import { compileNode } from "../../compiler/compile.ts";
import { importProgram } from "../../compiler/import/importProgram.ts";
import { formatIssue } from "../../compiler/issue.ts";
import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { Engine } from "../../dataplane/dataplane.ts";
import { createFabricResults, Fabric, type FabricResults } from "../../dataplane/fabric.ts";
import { appendPacket, createBatch, type Packet } from "../../dataplane/packet.ts";
import type { Program, TableProgram } from "../../dataplane/program.ts";
import type { Decision } from "../../dataplane/result.ts";
import { VERDICTS, type Verdict } from "../../dataplane/verdict.ts";
import { type Coverage, ruleShape } from "./coverage.ts";

/** The programs of all nodes. Throws when one is not legal. */
export function compileAll(cluster: ResolvedCluster, strategy: Strategy): readonly Program[] {
  return cluster.model.nodes.map(({ name }) => compileNode(cluster, strategy, { node: name }));
}

/** The same unverified: what is not legal the loader refuses, or it shows in verdicts. */
export function lowerAll(cluster: ResolvedCluster, strategy: Strategy): readonly Program[] {
  return cluster.model.nodes.map(({ name }) => strategy.lower(cluster, { node: name }));
}

/** The programs written as a node's saves and read again. Throws when the importer does not take them. */
export function throughText(programs: readonly Program[]): readonly Program[] {
  return programs.map((program) => (program.kind === "tables" ? imported(program) : program));
}

function imported(program: TableProgram): TableProgram {
  const families = program.families.map(({ family }) => family);
  const save = (family: 4 | 6) =>
    families.includes(family) ? { name: `save-${family}`, text: renderIptablesSave(program, family) } : undefined;
  const [four, six] = [save(4), save(6)];
  const { program: read, issues } = importProgram({
    ...(four && { iptablesSave: four }),
    ...(six && { ip6tablesSave: six }),
    ipsetSave: { name: "ipset", text: renderIpsetSave(program) },
    node: program.node,
    strategy: program.strategy,
    attachment: program.attachment,
  });
  if (read === undefined)
    throw new Error(`the importer does not read our own text: ${issues.map(formatIssue).join("; ")}`);
  return read;
}

/** Packets of one list, at most. */
const ROOM = 4096;

/** Devices of a node are numbered for good, so a fabric is made anew now and then. */
const MOST_LOADS = 500;

/**
 * Pushes lists of first packets through one set of programs after another. Columns and connection tables are kept: for
 * the few packets of a run, making them anew would take longer than walking them.
 */
export class FreshPusher {
  readonly #batch = createBatch(ROOM);
  readonly #results = createFabricResults(ROOM);
  readonly #engine: Engine;
  #fabric: Fabric | undefined;
  #loads = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  push(programs: readonly Program[], packets: readonly Packet[]): FreshAnswers {
    if (packets.length > ROOM) throw new RangeError(`${packets.length} packets at once, room for ${ROOM}`);
    if (this.#fabric === undefined || this.#loads++ > MOST_LOADS) {
      this.#fabric = new Fabric(programs, { engine: this.#engine });
      this.#loads = 0;
    } else {
      this.#fabric.load(programs);
      this.#fabric.flushConntrack();
    }
    this.#batch.length = 0;
    for (const packet of packets) appendPacket(this.#batch, packet);
    this.#fabric.pushBatch(this.#batch, this.#results);
    return { fabric: this.#fabric, results: this.#results, count: packets.length };
  }
}

/** Valid until the next push. */
export interface FreshAnswers {
  readonly fabric: Fabric;
  readonly results: FabricResults;
  readonly count: number;
}

export function verdictAt({ results }: FreshAnswers, index: number): Verdict {
  return VERDICTS[results.verdict[index] ?? 0] ?? "unknown";
}

/** What decided, on which hop, each kind once. */
export function decisionFeatures(
  { fabric, results, count }: FreshAnswers,
  programs: readonly Program[],
  coverage: Coverage,
): void {
  for (const [number, { node, results: hop }] of results.hops.entries()) {
    const seen = new Set<number>();
    for (let row = 0; row < count; row++) {
      if ((results.hopCount[row] ?? 0) <= number) continue;
      const at = node[row] ?? 0;
      const decision = hop.decision[row] ?? 0;
      const key = (decision + 8) * fabric.nodes.length + at;
      if (seen.has(key)) continue;
      seen.add(key);
      const meaning = fabric.nodes[at]?.decision(decision);
      const by = meaning?.decision;
      const origin = by?.origin?.replace(/^\S+ /, "") ?? "";
      const shape = by === undefined ? "nothing" : by.kind === "map" ? by.map.split("_")[0] : shapeOf(programs, by);
      coverage.text(`${programs[0]?.strategy} hop ${number} ${meaning?.reason} ${shape} ${origin}`);
    }
  }
}

/** The rule's kinds of matches and target; the chain's policy has none. */
function shapeOf(programs: readonly Program[], by: Extract<Decision, { kind: "rule" }>): number {
  const program = programs.find(({ node }) => node === by.node);
  if (program?.kind !== "tables") return 0;
  for (const { tables } of program.families) {
    const chain = tables.find(({ name }) => name === by.table)?.chains.find(({ name }) => name === by.chain);
    const rule = chain?.rules[by.rule - 1];
    if (rule !== undefined) return ruleShape(rule);
  }
  return 0;
}
