/** Which policies the agent of a host renders. */
import { compareAge } from "../../age.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import type { Block } from "./blocks.ts";
import { defaultPolicy, type RomanaPolicy, translatePolicy } from "./translate.ts";

export interface PolicyList {
  /** Defaults of open namespaces, then the translated policies, oldest first. */
  readonly policies: readonly RomanaPolicy[];
  /**
   * False when one policy has no ingress entry: the agent's iterator then refuses the whole list, and every host is left
   * with the default drop (pkg/policytools/iterator.go NewPolicyIterator).
   */
  readonly rendered: boolean;
}

const LISTS = new WeakMap<ResolvedCluster, PolicyList>();

export function listPolicies(cluster: ResolvedCluster): PolicyList {
  let list = LISTS.get(cluster);
  if (list === undefined) {
    const defaults = cluster.model.namespaces.flatMap((namespace) => defaultPolicy(namespace) ?? []);
    const translated = [...cluster.model.policies].sort(compareAge).map(translatePolicy);
    const policies = [...defaults, ...translated];
    list = { policies, rendered: policies.length > 0 && policies.every(({ ingress }) => ingress.length > 0) };
    LISTS.set(cluster, list);
  }
  return list;
}

/** The list in the order of a setting: `uid`, or `namespace/policy` names separated by commas, the others behind them. */
export function orderedPolicies(policies: readonly RomanaPolicy[], setting: string): readonly RomanaPolicy[] {
  if (setting === "uid") return policies;
  const rank = new Map(setting.split(",").map((name, index) => [name.trim(), index]));
  const rankOf = ({ origin }: RomanaPolicy) => rank.get(origin) ?? rank.size;
  return policies.toSorted((a, b) => rankOf(a) - rankOf(b));
}

/** A policy is rendered where its target has a block. */
export function targetOnHost({ target }: RomanaPolicy, blocks: readonly Block[], host: string): boolean {
  return blocks.some(
    (block) =>
      block.host === host &&
      block.tenant === target.tenant &&
      (target.segment === "" || block.segment === target.segment),
  );
}
