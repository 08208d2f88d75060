/** Whose address it is: a pod's, a node's, or nobody's in the cluster (rows 33 to 35, 38). */
import type { ClusterModel, Endpoint } from "../compiler/model.ts";
import type { IpAddress } from "../dataplane/address.ts";
import { addressText, sameAddress } from "./addresses.ts";

export type Owner =
  | { readonly kind: "pod"; readonly pod: Endpoint }
  | { readonly kind: "node"; readonly node: string }
  | { readonly kind: "outside" };

/**
 * Pods of the pod network come first, then nodes. A pod on the host network has no address of its own: what its status
 * lists is an address of its node, also when the node's own status does not repeat it. A finished pod has given its
 * address back.
 */
export function ownerOf(model: ClusterModel, address: IpAddress): Owner {
  const claims = model.endpoints.filter((pod) => !finished(pod) && lists(pod, address));
  const pod = winner(claims.filter((claim) => !claim.hostNetwork));
  if (pod !== undefined) return { kind: "pod", pod };
  const node = model.nodes.find((candidate) => lists(candidate, address));
  if (node !== undefined) return { kind: "node", node: node.name };
  const guest = claims.find((claim) => claim.node !== "");
  if (guest !== undefined) return { kind: "node", node: guest.node };
  return { kind: "outside" };
}

/** `default/db`, `node node-a (192.168.0.11)`, or the address alone. */
export function ownerText(owner: Owner, address: IpAddress): string {
  switch (owner.kind) {
    case "pod":
      return owner.pod.key;
    case "node":
      return `node ${owner.node} (${addressText(address)})`;
    case "outside":
      return addressText(address);
  }
}

function lists(holder: { readonly addresses: readonly IpAddress[] }, address: IpAddress): boolean {
  return holder.addresses.some((own) => sameAddress(own, address));
}

function finished(pod: Endpoint): boolean {
  return pod.phase === "Succeeded" || pod.phase === "Failed";
}

/** Of several pods that claim one address: a running one, then the newest (row 35); a validated model has one claim. */
function winner(claims: readonly Endpoint[]): Endpoint | undefined {
  const [best] = [...claims].sort(
    (a, b) => Number(b.phase === "Running") - Number(a.phase === "Running") || bornAt(b) - bornAt(a),
  );
  return best;
}

function bornAt(pod: Endpoint): number {
  return pod.creationTimestamp === "" ? 0 : Date.parse(pod.creationTimestamp);
}
