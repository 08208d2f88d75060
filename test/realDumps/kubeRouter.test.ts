/** Our lowering against the real kube-router's: the same text, the same verdicts, the same rules on the way. */
import { describe, expect, it } from "vitest";
import { compileNode } from "../../compiler/compile.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { formatAddress } from "../../dataplane/address.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { type Packet, protocolName } from "../../dataplane/packet.ts";
import type { Program } from "../../dataplane/program.ts";
import type { Hop } from "../../dataplane/result.ts";
import { sampled } from "../extent.ts";
import { hasShared } from "../shared.ts";
import { clusterOf, clustersOf, NODES, verdictsOf, walksOf } from "./dumps.ts";
import { differingNamedPorts, unexplainedNamedPorts } from "./namedPortVisits.ts";
import { ourText, recordedText } from "./nodeText.ts";
import { type KubeRouterNode, normaliseKubeRouter, ordersOf } from "./normaliseKubeRouter.ts";

interface ComparedNode {
  readonly name: string;
  readonly program: Program;
  readonly ours: KubeRouterNode;
  readonly theirs: KubeRouterNode;
}

/** Both sides of each node of a recorded cluster, ours with the random orders of theirs. */
function nodesOf(name: string, cluster: ResolvedCluster): readonly ComparedNode[] {
  return NODES.map((node) => {
    const recorded = recordedText(`kube-router/${name}/${node}`);
    const program = compileNode(cluster, kubeRouter, { node, settings: ordersOf(recorded) });
    return {
      name: node,
      program,
      ours: normaliseKubeRouter(ourText(program)),
      theirs: normaliseKubeRouter(recorded),
    };
  });
}

function show({ protocol, source, destination, sourcePort, destinationPort }: Packet): string {
  const end = (address: typeof source, port: number) => `${formatAddress(address)}:${port}`;
  return `${protocolName(protocol)} ${end(source, sourcePort)} > ${end(destination, destinationPort)}`;
}

const hopText = ({ node, verdict }: Pick<Hop, "node" | "verdict">) => `${node} ${verdict}`;

describe.each(sampled(clustersOf("kube-router"), 4))("kube-router on %s", (name) => {
  const cluster = clusterOf("kube-router", name);
  const nodes = nodesOf(name, cluster);

  it.each(nodes)("$name: the chains and rules are the real one's, line for line", ({ ours, theirs }) => {
    expect(theirs.chains.length).toBeGreaterThan(20);
    expect(ours.chains).toEqual(theirs.chains);
  });

  it.each(nodes)("$name: the sets and their members are the real one's", ({ ours, theirs }) => {
    expect(theirs.sets.length).toBeGreaterThan(0);
    expect(ours.sets).toEqual(theirs.sets);
  });

  it.each(nodes)("$name: in the set of a named port are pods that some order of visits puts there", (node) => {
    expect(unexplainedNamedPorts(cluster, node.name, node.theirs)).toEqual([]);
  });

  it("each packet gets the kernel's verdict on each node", () => {
    const fabric = new Fabric(nodes.map(({ program }) => program));
    const recorded = verdictsOf("kube-router", name);
    const differences = recorded.flatMap(({ packet, hops, verdict, also }) => {
      fabric.flushConntrack();
      const result = fabric.push(packet);
      const same = result.hops.map(hopText).join() === hops.map(hopText).join() && result.verdict === verdict;
      if (same || also.includes(result.verdict)) return [];
      return `${show(packet)}: kernel ${hops.map(hopText).join(", ")}; here ${result.hops.map(hopText).join(", ")}`;
    });
    expect(recorded.length).toBeGreaterThan(100);
    expect(differences.slice(0, 10), `${differences.length} of ${recorded.length}`).toEqual([]);
  });

  it("each packet matches the rules it matched in the kernel, in that order", () => {
    const fabric = new Fabric(
      nodes.map(({ program }) => program),
      { walk: true },
    );
    const packets = new Map(verdictsOf("kube-router", name).map(({ id, packet }) => [id, packet]));
    const recorded = walksOf("kube-router", name);
    const differences = recorded.flatMap((walk) => {
      const packet = packets.get(walk.id);
      const node = nodes.find((one) => one.name === walk.node);
      if (packet === undefined || node === undefined) throw new Error(`walk of packet ${walk.id} on ${walk.node}`);
      fabric.flushConntrack();
      const hop = fabric.push(packet).hops.find((one) => one.node === walk.node);
      const { family } = packet.source;
      const kernel = walk.walk.flatMap((entry) => {
        const [chain = "", number = ""] = entry.split(" ");
        return compared(node.theirs.rule(family, chain, Number(number)));
      });
      const here = (hop?.walk ?? []).flatMap(([, chain, number]) => compared(node.ours.rule(family, chain, number)));
      if (kernel.join() === here.join()) return [];
      return `${show(packet)} on ${walk.node}:\n  kernel ${kernel.join("\n    ")}\n  here   ${here.join("\n    ")}`;
    });
    expect(recorded.length).toBeGreaterThan(50);
    expect(differences.slice(0, 3), `${differences.length} of ${recorded.length}`).toEqual([]);
  });
});

describe.runIf(hasShared)("kube-router's named ports", () => {
  // x/pod-1 and x/pod-3 both have http on tcp/9090. Whoever comes first owns it, and pods with any port of x/pod-1's land in
  // its sets where it is first. In this sync x/np-20 met x/pod-3 first, and x/np-13 met x/pod-1 first.
  it("random-medium, node-a: two policies have met two pods in different orders, so that no one order gives all sets", () => {
    const cluster = clusterOf("kube-router", "random-medium");
    const recorded = normaliseKubeRouter(recordedText("kube-router/random-medium/node-a"));
    const differing = (first: string) => [...differingNamedPorts(cluster, { node: "node-a", visits: first }, recorded)];
    expect(differing("x/pod-1,x/pod-3")).toEqual([expect.stringMatching(/^np:x\/np-20-ingress:.*tcp---dport-80#1$/)]);
    expect(differing("x/pod-3,x/pod-1")).toEqual([expect.stringMatching(/^np:x\/np-13-egress:.*tcp---dport-9090#1$/)]);
  });
});

/**
 * A rule that is there to be compared. TRACE counts the end of a chain as one more; and whether a rule with a rate limit
 * matches depends on how many packets came before.
 */
function compared(rule: string | undefined): readonly string[] {
  return rule === undefined || rule.includes(" -m limit ") ? [] : [rule];
}
