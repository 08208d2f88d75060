/** What the page draws of a cluster. */
import { rememberedBy } from "../../compiler/again.ts";
import { type Endpoint, isOnPodNetwork, type NetworkPolicy } from "../../compiler/model.ts";
import type { ResolvedCluster, ResolvedPolicy } from "../../compiler/resolve.ts";
import { type Cidr, formatAddress, formatCidr } from "../../dataplane/address.ts";
import { matrixFamily, matrixPods, matrixPorts, portText } from "../../verify/matrix.ts";
import type { ClusterPicture, PodPicture } from "../messages.ts";

/** So many outside addresses are offered; others can be written. */
const MOST_OUTSIDE = 12;

export function clusterPicture(cluster: ResolvedCluster): ClusterPicture {
  const { model } = cluster;
  return {
    nodes: model.nodes.map(({ name, addresses }) => ({ name, addresses: addresses.map(formatAddress) })),
    pods: model.endpoints.map((pod) => ({
      ...rememberedBy(PODS, pod, podPicture),
      ingress: rememberedBy(KEYS, cluster.policiesFor(pod, "ingress"), keysOf),
      egress: rememberedBy(KEYS, cluster.policiesFor(pod, "egress"), keysOf),
    })),
    namespaces: [...new Set(model.endpoints.map(({ namespace }) => namespace))],
    policies: model.policies.length,
    outside: outsideOf(cluster),
    ports: matrixPorts(cluster).map(portText),
    matrix: matrixPods(cluster.pods, matrixFamily(cluster)).map(({ key }) => key),
  };
}

/** Most of a large cluster stays as it is when something is typed. */
const PODS = new WeakMap<Endpoint, Omit<PodPicture, "ingress" | "egress">>();
const KEYS = new WeakMap<readonly ResolvedPolicy[], readonly string[]>();

function podPicture(pod: Endpoint): Omit<PodPicture, "ingress" | "egress"> {
  return {
    key: pod.key,
    namespace: pod.namespace,
    name: pod.name,
    node: pod.node,
    addresses: pod.addresses.map(formatAddress),
    labels: [...pod.labels].map(([key, value]) => `${key}=${value}`).join(" "),
    apart: apartOf(pod),
  };
}

function keysOf(policies: readonly ResolvedPolicy[]): readonly string[] {
  return policies.map(({ policy }) => policy.key);
}

function apartOf(pod: Endpoint): string | undefined {
  if (isOnPodNetwork(pod)) return undefined;
  if (pod.hostNetwork) return "on the host network";
  return pod.addresses.length === 0 ? "has no address" : `is ${pod.phase}`;
}

/** The first addresses of the blocks in policies that no pod and no node has. */
function outsideOf({ model }: ResolvedCluster): readonly string[] {
  const found = new Set<string>();
  const inside = new Set(model.nodes.flatMap(({ addresses }) => addresses.map(formatAddress)));
  for (const pod of model.endpoints)
    for (const address of rememberedBy(PODS, pod, podPicture).addresses) inside.add(address);
  const podBlocks = model.nodes.flatMap(({ podCidrs }) => podCidrs.map(formatCidr));
  for (const cidr of blocksIn(model.policies)) {
    if (found.size === MOST_OUTSIDE) break;
    const address = formatAddress(cidr).replace(/\.0$/, ".1").replace(/::$/, "::1");
    if (!inside.has(address) && !podBlocks.includes(formatCidr(cidr))) found.add(address);
  }
  return found.size > 0 ? [...found] : [SOMEWHERE];
}

const SOMEWHERE = "203.0.113.7";

function* blocksIn(policies: readonly NetworkPolicy[]): Generator<Cidr> {
  for (const { ingress, egress } of policies) {
    for (const rules of [ingress, egress]) {
      for (const { peers } of rules) {
        for (const peer of peers) if (peer.kind === "ipBlock" && peer.cidr.prefixLength > 0) yield peer.cidr;
      }
    }
  }
}
