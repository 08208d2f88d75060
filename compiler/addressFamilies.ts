/** Which address families a cluster uses. Asked of every state, so that only what changed is read. */
import { CountedAgain, rememberedBy } from "./again.ts";
import type { Endpoint, NetworkPolicy, PolicyRule } from "./model.ts";
import type { ResolvedCluster } from "./resolve.ts";

class LatestFamilies {
  readonly endpoints = new CountedAgain<Endpoint, 6>();
  readonly pods = new CountedAgain<Endpoint, 6>();
  readonly policies = new CountedAgain<NetworkPolicy, 6>();
}

const LATEST = new WeakMap<WeakKey, LatestFamilies>();

function latestOf({ lineage }: ResolvedCluster): LatestFamilies {
  return rememberedBy(LATEST, lineage, () => new LatestFamilies());
}

/** Whether a pod, on the pod network or not, has an IPv6 address, or a policy an IPv6 block. */
export function mentionsIpv6(cluster: ResolvedCluster): boolean {
  const { endpoints, policies } = latestOf(cluster);
  const { model } = cluster;
  return endpoints.of(model.endpoints, familyOfPod).size > 0 || policies.of(model.policies, familyOfPolicy).size > 0;
}

/** Whether a pod of the pod network has an IPv6 address. */
export function hasIpv6Pods(cluster: ResolvedCluster): boolean {
  return latestOf(cluster).pods.of(cluster.pods, familyOfPod).size > 0;
}

const IPV6 = [6] as const;
const NONE = [] as const;

function familyOfPod({ addresses }: Endpoint): readonly 6[] {
  return addresses.some(({ family }) => family === 6) ? IPV6 : NONE;
}

function familyOfPolicy({ ingress, egress }: NetworkPolicy): readonly 6[] {
  const inRules = (rules: readonly PolicyRule[]) =>
    rules.some(({ peers }) => peers.some((peer) => peer.kind === "ipBlock" && peer.cidr.family === 6));
  return inRules(ingress) || inRules(egress) ? IPV6 : NONE;
}
