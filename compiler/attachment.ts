/** How pods hang on a node whose solution routes: a veth pair each, no bridge, everything else through one interface. */
import type { Attachment } from "../dataplane/program.ts";
import type { Endpoint } from "./model.ts";
import type { ResolvedCluster } from "./resolve.ts";

export interface RoutedPods {
  readonly node: string;
  /** In the order in which the solution has met them. */
  readonly pods: readonly Endpoint[];
  /** The host end of the pod's pair. */
  readonly interfaceOf: (pod: Endpoint) => string;
}

export function routedAttachment(cluster: ResolvedCluster, { node, pods, interfaceOf }: RoutedPods): Attachment {
  return {
    uplink: "eth0",
    pods: pods.map((pod) => ({ endpoint: pod.key, addresses: pod.addresses, interface: interfaceOf(pod) })),
    remotePodAddresses: [],
    localAddresses: cluster.model.nodes.find(({ name }) => name === node)?.addresses ?? [],
  };
}
