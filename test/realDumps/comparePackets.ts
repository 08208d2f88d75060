/** Recorded packets through programs of ours: where verdicts or matched rules part from the kernel's. */
import { type Family, formatAddress } from "../../dataplane/address.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { type Packet, protocolName } from "../../dataplane/packet.ts";
import type { Program } from "../../dataplane/program.ts";
import type { Hop } from "../../dataplane/result.ts";
import type { RecordedVerdict, RecordedWalk } from "./dumps.ts";

function show({ protocol, source, destination, sourcePort, destinationPort }: Packet): string {
  const end = (address: typeof source, port: number) => `${formatAddress(address)}:${port}`;
  return `${protocolName(protocol)} ${end(source, sourcePort)} > ${end(destination, destinationPort)}`;
}

const hopText = ({ node, verdict }: Pick<Hop, "node" | "verdict">) => `${node} ${verdict}`;

/** Each packet whose verdict, on any node, is not the recorded one (or one that another run of the solution gave). */
export function verdictDifferences(
  programs: readonly Program[],
  recorded: readonly RecordedVerdict[],
): readonly string[] {
  const fabric = new Fabric(programs);
  return recorded.flatMap(({ packet, hops, verdict, also }) => {
    fabric.flushConntrack();
    const result = fabric.push(packet);
    const same = result.hops.map(hopText).join() === hops.map(hopText).join() && result.verdict === verdict;
    if (same || also.includes(result.verdict)) return [];
    return `${show(packet)}: kernel ${hops.map(hopText).join(", ")}; here ${result.hops.map(hopText).join(", ")}`;
  });
}

/** The text of a rule of one node, comparable between the two sides; undefined past the end of the chain. */
export type RuleText = (family: Family, chain: string, number: number) => string | undefined;

export interface WalkedNode {
  readonly name: string;
  readonly program: Program;
  readonly ours: RuleText;
  readonly theirs: RuleText;
}

/** Each packet that matches other rules, or in another order, than it matched in the kernel. */
export function walkDifferences(
  nodes: readonly WalkedNode[],
  recorded: readonly RecordedVerdict[],
  walks: readonly RecordedWalk[],
): readonly string[] {
  const fabric = new Fabric(
    nodes.map(({ program }) => program),
    { walk: true },
  );
  const packets = new Map(recorded.map(({ id, packet }) => [id, packet]));
  return walks.flatMap((walk) => {
    const packet = packets.get(walk.id);
    const node = nodes.find(({ name }) => name === walk.node);
    if (packet === undefined || node === undefined) throw new Error(`walk of packet ${walk.id} on ${walk.node}`);
    fabric.flushConntrack();
    const hop = fabric.push(packet).hops.find((one) => one.node === walk.node);
    const { family } = packet.source;
    const kernel = walk.walk.flatMap((entry) => {
      const [chain = "", number = ""] = entry.split(" ");
      return compared(node.theirs(family, chain, Number(number)));
    });
    // The kernel's trace was taken in the filter table.
    const filter = (hop?.walk ?? []).filter(([table]) => table === "filter");
    const here = filter.flatMap(([, chain, number]) => compared(node.ours(family, chain, number)));
    if (kernel.join() === here.join()) return [];
    return `${show(packet)} on ${walk.node}:\n  kernel ${kernel.join("\n    ")}\n  here   ${here.join("\n    ")}`;
  });
}

/**
 * A rule that is there to be compared. TRACE counts the end of a chain as one more; and whether a rule with a rate limit
 * matches depends on how many packets came before.
 */
function compared(rule: string | undefined): readonly string[] {
  return rule === undefined || rule.includes(" -m limit ") ? [] : [rule];
}
