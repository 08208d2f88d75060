import { describe, expect, it } from "vitest";
import { importProgram } from "../../compiler/import/importProgram.ts";
import { formatIssue } from "../../compiler/issue.ts";
import { type Family, formatAddress } from "../../dataplane/address.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { type Packet, protocolName } from "../../dataplane/packet.ts";
import type { Chain, TableProgram } from "../../dataplane/program.ts";
import type { Hop } from "../../dataplane/result.ts";
import { hasShared } from "../shared.ts";
import {
  attachmentOf,
  clusterOf,
  clustersOf,
  NODES,
  SOLUTIONS,
  type Solution,
  savesIn,
  verdictsOf,
  walksOf,
} from "./dumps.ts";

/** What each node of a recorded cluster held. */
function programsOf(solution: Solution, name: string): readonly TableProgram[] {
  const cluster = clusterOf(solution, name);
  return NODES.map((node) => {
    const { program, issues } = importProgram({
      ...savesIn(`${solution}/${name}/${node}`),
      node,
      strategy: solution,
      attachment: attachmentOf(solution, cluster, node),
    });
    if (program === undefined || issues.length > 0) throw new Error(issues.map(formatIssue).join("\n"));
    return program;
  });
}

function show({ protocol, source, destination, sourcePort, destinationPort }: Packet): string {
  const end = (address: typeof source, port: number) => `${formatAddress(address)}:${port}`;
  return `${protocolName(protocol)} ${end(source, sourcePort)} > ${end(destination, destinationPort)}`;
}

const hopText = ({ node, verdict }: Pick<Hop, "node" | "verdict">) => `${node} ${verdict}`;

/** Where ours and the recorded part, at most so many. */
const SHOWN = 10;

describe.runIf(hasShared)("packets through what the real solutions programmed", () => {
  for (const solution of SOLUTIONS) {
    it.each(clustersOf(solution))(`${solution} %s: each node does what the kernel did`, (name) => {
      const fabric = new Fabric(programsOf(solution, name));
      const recorded = verdictsOf(solution, name);
      const differences: string[] = [];
      for (const { packet, hops, verdict, also } of recorded) {
        fabric.flushConntrack();
        const result = fabric.push(packet);
        const same = result.hops.map(hopText).join() === hops.map(hopText).join() && result.verdict === verdict;
        if (same || also.includes(result.verdict)) continue;
        const ours = result.hops.map(hopText).join(", ");
        differences.push(`${show(packet)}: kernel ${hops.map(hopText).join(", ")}; here ${ours}`);
      }
      expect(recorded.length).toBeGreaterThan(500);
      expect(differences.slice(0, SHOWN), `${differences.length} of ${recorded.length}`).toEqual([]);
    });
  }
});

describe.runIf(hasShared)("the rules that packets match", () => {
  for (const solution of SOLUTIONS.filter((each) => each !== "romana-as-given")) {
    it.each(clustersOf(solution))(`${solution} %s: the same, in the same order, as in the kernel`, (name) => {
      const programs = programsOf(solution, name);
      const fabric = new Fabric(programs, { walk: true });
      const packets = new Map(verdictsOf(solution, name).map(({ id, packet }) => [id, packet]));
      const recorded = walksOf(solution, name);
      const differences: string[] = [];
      for (const walk of recorded) {
        const packet = packets.get(walk.id);
        const program = programs.find(({ node }) => node === walk.node);
        if (packet === undefined || program === undefined) throw new Error(`walk of packet ${walk.id} on ${walk.node}`);
        fabric.flushConntrack();
        const hop = fabric.push(packet).hops.find(({ node }) => node === walk.node);
        const chains = filterChains(program, packet.source.family);
        const [theirs, ours] = [kernelRules(walk.walk, chains), ourRules(hop, chains)];
        if (theirs.join() === ours.join()) continue;
        differences.push(
          `${show(packet)} on ${walk.node}:\n  kernel ${theirs.join(", ")}\n  here   ${ours.join(", ")}`,
        );
      }
      expect(recorded.length).toBeGreaterThan(100);
      expect(differences.slice(0, SHOWN), `${differences.length} of ${recorded.length}`).toEqual([]);
    });
  }
});

/** The filter table that packets of the family meet. */
function filterChains(program: TableProgram, family: Family): ReadonlyMap<string, Chain> {
  const of = program.families.find((each) => each.family === family);
  const filter = of?.tables.find(({ name }) => name === "filter");
  return new Map(filter?.chains.map((chain) => [chain.name, chain]));
}

/**
 * Whether a rule of that number is there to be compared. TRACE counts the end of a chain as one more; and whether a rule
 * with a rate limit matches depends on how many packets came before: a kernel's bucket may be empty, ours never is.
 */
function isCompared(chain: Chain | undefined, number: number): boolean {
  const rule = chain?.rules[number - 1];
  return rule !== undefined && !rule.matches.some(({ kind }) => kind === "limit");
}

function kernelRules(walk: readonly string[], chains: ReadonlyMap<string, Chain>): readonly string[] {
  return walk.flatMap((entry) => {
    const [chain = "", number = ""] = entry.split(" ");
    return isCompared(chains.get(chain), Number(number)) ? `${chain} ${number}` : [];
  });
}

function ourRules(hop: Hop | undefined, chains: ReadonlyMap<string, Chain>): readonly string[] {
  return (hop?.walk ?? []).flatMap(([table, chain, number]) =>
    table === "filter" && isCompared(chains.get(chain), number) ? `${chain} ${number}` : [],
  );
}
