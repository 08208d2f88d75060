/**
 * What pods on the host network say of their nodes: a pod there has its node's address, also when the node's own status does
 * not list it (semantics.md row 34). It is the node's then, as one that the node lists: packets from it are the node's own.
 */
import { addressesEqual, formatAddress, type IpAddress } from "../dataplane/address.ts";
import { FilteredAgain, rememberedBy } from "./again.ts";
import { type ClusterModel, type ClusterNode, type Endpoint, isOnPodNetwork } from "./model.ts";

/** The model with such addresses among those of their nodes; the same object when there are none. `lineage`: of states before. */
export function withHostAddresses(model: ClusterModel, lineage?: WeakKey): ClusterModel {
  const nodes = writtenNodes(model);
  const unlisted = unlistedAddresses({ nodes, endpoints: model.endpoints }, podsOnHosts(model.endpoints, lineage));
  if (unlisted.size === 0) return nodes === model.nodes ? model : { ...model, nodes };
  const all = nodes.map((node) => completed(node, unlisted.get(node.name) ?? []));
  WRITTEN.set(all, nodes);
  return { ...model, nodes: all };
}

function podsOnHosts(endpoints: readonly Endpoint[], lineage: WeakKey | undefined): readonly Endpoint[] {
  if (lineage === undefined) return endpoints.filter(isOnHost);
  return rememberedBy(ON_HOSTS, lineage, () => new FilteredAgain<Endpoint>()).of(endpoints, isOnHost);
}

const ON_HOSTS = new WeakMap<WeakKey, FilteredAgain<Endpoint>>();

/** The nodes as they were written: what changes of them are told by, and what other pods are on them next. */
export function writtenNodes({ nodes }: Pick<ClusterModel, "nodes">): readonly ClusterNode[] {
  return WRITTEN.get(nodes) ?? nodes;
}

/** By the list of a model that has more. */
const WRITTEN = new WeakMap<readonly ClusterNode[], readonly ClusterNode[]>();

/** By node. Pods of the pod network have an address first, then nodes that list it, then the first pod on a host. */
function unlistedAddresses(
  { nodes, endpoints }: Pick<ClusterModel, "nodes" | "endpoints">,
  onHosts: readonly Endpoint[],
): ReadonlyMap<string, readonly IpAddress[]> {
  const found = new Map<string, IpAddress[]>();
  const guests = onHosts.filter((pod) => listsMore(pod, nodes));
  if (guests.length === 0) return found;
  const taken = new Set([...endpoints.filter(isOnPodNetwork), ...nodes].flatMap(textsOf));
  for (const { node, addresses } of guests) {
    for (const address of addresses) {
      const text = formatAddress(address);
      if (taken.has(text)) continue;
      taken.add(text);
      const own = found.get(node);
      if (own === undefined) found.set(node, [address]);
      else own.push(address);
    }
  }
  return found;
}

function isOnHost({ hostNetwork, node, phase }: Endpoint): boolean {
  return hostNetwork && node !== "" && phase !== "Succeeded" && phase !== "Failed";
}

/** Asked of every pod on a host in every state: without making texts, as nearly all of them list what their nodes do. */
function listsMore({ node, addresses }: Endpoint, nodes: readonly ClusterNode[]): boolean {
  const own = rememberedBy(BY_NAME, nodes, () => new Map(nodes.map((one) => [one.name, one]))).get(node);
  return (
    own !== undefined && addresses.some((address) => !own.addresses.some((listed) => addressesEqual(listed, address)))
  );
}

const BY_NAME = new WeakMap<readonly ClusterNode[], ReadonlyMap<string, ClusterNode>>();

function textsOf({ addresses }: Pick<Endpoint, "addresses">): readonly string[] {
  return addresses.map(formatAddress);
}

/** The same object for the same addresses: the node has not changed. */
function completed(node: ClusterNode, more: readonly IpAddress[]): ClusterNode {
  if (more.length === 0) return node;
  const texts = more.map(formatAddress).join();
  const known = COMPLETED.get(node);
  if (known?.texts === texts) return known.node;
  const made = { ...node, addresses: [...node.addresses, ...more] };
  COMPLETED.set(node, { texts, node: made });
  return made;
}

const COMPLETED = new WeakMap<ClusterNode, { readonly texts: string; readonly node: ClusterNode }>();
