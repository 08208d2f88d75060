/** The sets of named ports, whose members depend on the random order in which kube-router visits pods. */
import { compileNode } from "../../compiler/compile.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { ourText } from "./nodeText.ts";
import { type KubeRouterNode, normaliseKubeRouter } from "./normaliseKubeRouter.ts";

/** The named ports of a recorded node whose sets no order that is tried gives; each is visited in an order of its own. */
export function unexplainedNamedPorts(
  cluster: ResolvedCluster,
  node: string,
  recorded: Pick<KubeRouterNode, "namedPorts">,
): readonly string[] {
  const left = new Map(recorded.namedPorts);
  for (const visits of ordersOfVisits(cluster)) {
    if (left.size === 0) break;
    const settings = new Map([["pod-order", visits]]);
    const tried = normaliseKubeRouter(ourText(compileNode(cluster, kubeRouter, { node, settings }))).namedPorts;
    const missing = [...recorded.namedPorts.keys()].filter((port) => !tried.has(port));
    const strange = [...tried.keys()].filter((port) => !recorded.namedPorts.has(port));
    if (missing.length + strange.length > 0) return [...missing, ...strange];
    for (const [port, { header, members }] of tried) {
      const theirs = left.get(port);
      if (theirs?.header === header && theirs.members.join() === members.join()) left.delete(port);
    }
  }
  return [...left.keys()];
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
