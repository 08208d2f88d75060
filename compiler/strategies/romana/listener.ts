/** Which policies the agent of a host renders. */
import { CountedAgain, MappedAgain, rememberedBy, SortedAgain, sameItems } from "../../again.ts";
import { compareAge } from "../../age.ts";
import type { Namespace, NetworkPolicy } from "../../model.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { type Block, blocksOf, ipv4Of, segmentOf } from "./blocks.ts";
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
const LATEST = new WeakMap<WeakKey, LatestPolicies>();

export function listPolicies(cluster: ResolvedCluster): PolicyList {
  return rememberedBy(LISTS, cluster, () =>
    rememberedBy(LATEST, cluster.lineage, () => new LatestPolicies()).list(cluster),
  );
}

/** The lists of states that follow each other: what stays is the same policy. */
class LatestPolicies {
  readonly #defaults = new MappedAgain<Namespace, RomanaPolicy | undefined>();
  readonly #byAge = new SortedAgain<NetworkPolicy>(compareAge);
  readonly #translated = new MappedAgain<NetworkPolicy, RomanaPolicy>();
  readonly #counts = new CountedAgain<RomanaPolicy, "empty">();

  #latest: (PolicyList & { readonly madeOf: readonly unknown[] }) | undefined;

  list({ model }: ResolvedCluster): PolicyList {
    const madeOf = [
      this.#defaults.of(model.namespaces, defaultPolicy),
      this.#translated.of(this.#byAge.of(model.policies), translatePolicy),
    ] as const;
    if (this.#latest === undefined || !sameItems<unknown>(this.#latest.madeOf, madeOf)) {
      const [defaults, translated] = madeOf;
      const policies = [...defaults.filter((policy) => policy !== undefined), ...translated];
      const empty = this.#counts.of(policies, ({ ingress }) => (ingress.length > 0 ? [] : ["empty"]));
      this.#latest = { policies, rendered: policies.length > 0 && empty.size === 0, madeOf };
    }
    return this.#latest;
  }
}

/** The list in the order of a setting: `uid`, or `namespace/policy` names separated by commas, the others behind them. */
export function orderedPolicies(policies: readonly RomanaPolicy[], setting: string): readonly RomanaPolicy[] {
  if (setting === "uid") return policies;
  const rank = new Map(setting.split(",").map((name, index) => [name.trim(), index]));
  const rankOf = ({ origin }: RomanaPolicy) => rank.get(origin) ?? rank.size;
  return policies.toSorted((a, b) => rankOf(a) - rankOf(b));
}

/** Of the list those that a host renders: where their target has a block, and so a pod. */
export function policiesOnHost(
  policies: readonly RomanaPolicy[],
  cluster: ResolvedCluster,
  host: string,
): readonly RomanaPolicy[] {
  const targets = new Set<string>();
  for (const pod of cluster.podsOn(host)) {
    if (ipv4Of(pod) === undefined) continue;
    targets.add(targetKey(pod.namespace, ""));
    targets.add(targetKey(pod.namespace, segmentOf(pod)));
  }
  const keys = rememberedBy(TARGETS, cluster.lineage, () => new MappedAgain<RomanaPolicy, string>());
  const own = keys.of(policies, ({ target }) => targetKey(target.tenant, target.segment));
  return policies.filter((_, index) => targets.has(own[index] ?? ""));
}

/**
 * Whether `iptables-restore --test` refuses what the agent of a host renders: a peer names a tenant or a segment of which
 * no block is known, and so a set that there is not. Nothing is applied then, not even the chains that the CNI plugin's
 * rules jump to, and nothing on a host where Romana has just come is filtered (agent/enforcer/enforcer.go makeBlockSets,
 * Run; what such a host looks like is in dumps/romana/probes/native-bad-cidr).
 */
export function isRefused(cluster: ResolvedCluster, host: string): boolean {
  const hosts = rememberedBy(REFUSED, cluster, () => new Map<string, boolean>());
  let refused = hosts.get(host);
  if (refused === undefined) {
    const { policies, rendered } = listPolicies(cluster);
    const counter = rememberedBy(HOLDERS, cluster.lineage, () => new CountedAgain<Block, string>());
    const known = counter.of(blocksOf(cluster), holdersOf);
    refused =
      rendered &&
      policiesOnHost(policies, cluster, host).some((policy) =>
        rememberedBy(PEERS, policy, peerKeys).some((key) => !known.has(key)),
      );
    hosts.set(host, refused);
  }
  return refused;
}

const REFUSED = new WeakMap<ResolvedCluster, Map<string, boolean>>();
const HOLDERS = new WeakMap<WeakKey, CountedAgain<Block, string>>();
const PEERS = new WeakMap<RomanaPolicy, readonly string[]>();

/** The tenant that has a block, and the segment of it. */
function holdersOf({ tenant, segment }: Block): readonly string[] {
  return [targetKey(tenant, ""), targetKey(tenant, segment)];
}

function peerKeys({ ingress }: RomanaPolicy): readonly string[] {
  const named = ingress.flatMap(({ peers }) => peers.filter(({ peer }) => peer !== "any"));
  return [...new Set(named.map(({ tenant, segment }) => targetKey(tenant, segment)))];
}

const TARGETS = new WeakMap<WeakKey, MappedAgain<RomanaPolicy, string>>();

function targetKey(tenant: string, segment: string): string {
  return `${tenant} ${segment}`;
}
