/** What the page draws of a cluster. */
import { rememberedBy } from "../../compiler/again.ts";
import { type Endpoint, isOnPodNetwork } from "../../compiler/model.ts";
import type { ResolvedCluster, ResolvedPolicy } from "../../compiler/resolve.ts";
import { formatAddress, formatCidr } from "../../dataplane/address.ts";
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
  const inside = new Set([...model.endpoints, ...model.nodes].flatMap(({ addresses }) => addresses.map(formatAddress)));
  const podBlocks = model.nodes.flatMap(({ podCidrs }) => podCidrs.map(formatCidr));
  const found = new Set<string>();
  for (const policy of model.policies) {
    for (const { peers } of [...policy.ingress, ...policy.egress]) {
      for (const peer of peers) {
        if (peer.kind !== "ipBlock") continue;
        const { cidr } = peer;
        if (cidr.prefixLength === 0) continue;
        const address = formatAddress(cidr).replace(/\.0$/, ".1").replace(/::$/, "::1");
        if (!inside.has(address) && !podBlocks.includes(formatCidr(cidr))) found.add(address);
      }
    }
  }
  const addresses = [...found].slice(0, MOST_OUTSIDE);
  return addresses.length > 0 ? addresses : ["203.0.113.7"];
}
