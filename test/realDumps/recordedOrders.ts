/** Orders that a solution draws at random, read from a recorded node, as settings that give ours the same. */
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { policyChain, translatePolicy } from "../../compiler/strategies/romana/translate.ts";
import type { Solution } from "./dumps.ts";
import { type NodeText, parseChains } from "./normalise.ts";
import { ordersOf } from "./normaliseKubeRouter.ts";

export function recordedOrders(
  solution: Solution,
  cluster: ResolvedCluster,
  recorded: NodeText,
): ReadonlyMap<string, string> {
  switch (solution) {
    case "kube-router":
      return ordersOf(recorded);
    case "romana":
      return romanaOrder(cluster, recorded);
    case "calico":
    case "weave-net":
    case "romana-as-given":
      return new Map();
  }
}

function romanaOrder(cluster: ResolvedCluster, { ipv4 }: NodeText): ReadonlyMap<string, string> {
  const keys = new Map(cluster.model.policies.map((policy) => [policyChain(translatePolicy(policy)), policy.key]));
  const jumps = parseChains(ipv4).get("filter ROMANA-FORWARD-IN")?.rules ?? [];
  const order = jumps.flatMap((rule) => keys.get(rule.replace("-j ", "")) ?? []);
  return new Map([["policy-order", order.join(",")]]);
}
