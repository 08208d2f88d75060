/**
 * Pods that Calico holds for gone. Its CNI plugin empties the annotation when it takes a pod's network down, some time
 * before the pod object goes; until then a terminating pod keeps its address and its policies.
 *
 * Source: projectcalico/calico libcalico-go/lib/backend/k8s/conversion/workload_endpoint.go IsFinished.
 */
import type { Endpoint } from "../../model.ts";

const NETWORK_ANNOTATIONS = ["cni.projectcalico.org/podIP", "vpc.amazonaws.com/pod-ips"];

export function isUnplugged({ terminating, annotations }: Endpoint): boolean {
  return terminating && NETWORK_ANNOTATIONS.some((name) => annotations.get(name) === "");
}

/** The pod, without its addresses when it is unplugged. */
export function seeUnplugged(pod: Endpoint): Endpoint {
  return isUnplugged(pod) && pod.addresses.length > 0 ? { ...pod, addresses: [] } : pod;
}
