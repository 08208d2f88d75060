/** The sets of named ports, whose members depend on the random order in which kube-router visits pods. */
import { compileNode } from "../../compiler/compile.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { ourText } from "./nodeText.ts";
import type { SavedSet } from "./normalise.ts";
import { type KubeRouterNode, normaliseKubeRouter } from "./normaliseKubeRouter.ts";

/**
 * The named ports of a recorded node whose sets no order that is tried gives. kube-router lists pods anew for each policy,
 * and for each egress rule, in an order drawn each time: the sets of one policy's ingress come from one order, others from
 * orders of their own.
 */
export function unexplainedNamedPorts(
  cluster: ResolvedCluster,
  node: string,
  recorded: Pick<KubeRouterNode, "namedPorts">,
): readonly string[] {
  const left = new Map<string, string[]>();
  for (const port of recorded.namedPorts.keys()) left.set(listOf(port), [...(left.get(listOf(port)) ?? []), port]);
  for (const visits of ordersOfVisits(cluster)) {
    if (left.size === 0) break;
    const differing = differingNamedPorts(cluster, { node, visits }, recorded);
    for (const [list, ports] of left) if (!ports.some((port) => differing.has(port))) left.delete(list);
  }
  return [...left.values()].flat();
}

/** The policy whose pods are listed once for the set; for egress, where each rule lists, the set itself. */
function listOf(port: string): string {
  return /^np:(\S+-ingress):/.exec(port)?.[1] ?? port;
}

/** The named ports whose sets differ from the recorded ones when pods are visited in that order. */
export function differingNamedPorts(
  cluster: ResolvedCluster,
  { node, visits }: { readonly node: string; readonly visits: string },
  recorded: Pick<KubeRouterNode, "namedPorts">,
): ReadonlySet<string> {
  const settings = new Map([["pod-order", visits]]);
  const tried = normaliseKubeRouter(ourText(compileNode(cluster, kubeRouter, { node, settings }))).namedPorts;
  const text = (set: SavedSet | undefined) => `${set?.header} ${set?.members.join()}`;
  const ports = new Set([...recorded.namedPorts.keys(), ...tried.keys()]);
  return new Set([...ports].filter((port) => text(tried.get(port)) !== text(recorded.namedPorts.get(port))));
}

/** Orders in which pods may be visited: by name, and shuffled by a small generator that always does the same. */
function* ordersOfVisits(cluster: ResolvedCluster): Generator<string> {
  yield "name";
  const keys = cluster.pods.map(({ key }) => key);
  let state = 1;
  for (let shuffle = 0; shuffle < 200; shuffle++) {
    for (let last = keys.length - 1; last > 0; last--) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
      const other = state % (last + 1);
      [keys[last], keys[other]] = [keys[other] ?? "", keys[last] ?? ""];
    }
    yield keys.join(",");
  }
}
