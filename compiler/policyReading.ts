/**
 * What a cluster's policies say about a packet, with the places where solutions read them differently left open.
 *
 * Strategies describe their deviations with this: the API's reading with one place changed is what the real solution
 * does. It is no judge: `reference/` is, and shares nothing with this file.
 */
import { addressesEqual, cidrContains, formatAddress, type IpAddress } from "../dataplane/address.ts";
import { hasPorts, type Packet, protocolName } from "../dataplane/packet.ts";
import type { Verdict } from "../dataplane/verdict.ts";
import type { Direction, Endpoint, PolicyPort } from "./model.ts";
import type { ResolvedCluster, ResolvedPeer, ResolvedPolicy, ResolvedRule } from "./resolve.ts";

/** One end of a packet, as the cluster knows it. */
export interface PacketEnd {
  readonly address: IpAddress;
  /** The pod on the pod network that has the address. */
  readonly pod: Endpoint | undefined;
  /** The name of the node that has the address. */
  readonly node: string | undefined;
}

export interface PacketEnds {
  readonly source: PacketEnd;
  readonly destination: PacketEnd;
}

/** A policy about to be asked about a packet: whose, for which direction, between which ends. */
export interface PolicyContext {
  readonly cluster: ResolvedCluster;
  readonly policy: ResolvedPolicy;
  readonly direction: Direction;
  readonly packet: Packet;
  readonly ends: PacketEnds;
  readonly subject: Endpoint;
  readonly peer: PacketEnd;
}

export interface RuleContext extends PolicyContext {
  readonly rule: ResolvedRule;
}

/** A way to read policies. `API_READING` is the API's; a solution changes the places where it differs. */
export interface PolicyReading {
  /** The policies that select the pod, whatever their types. */
  policiesOf(cluster: ResolvedCluster, subject: Endpoint): readonly ResolvedPolicy[];
  /** Whether the pod is isolated even when no policy says so. */
  isolatedAnyway(cluster: ResolvedCluster, subject: Endpoint, direction: Direction): boolean;
  /** Whether the policy, which selects the subject, isolates it for the direction. */
  isolates(context: PolicyContext): boolean;
  /** Whether the policy's rules of the direction count for a subject that is isolated. */
  counts(context: PolicyContext): boolean;
  /** The rules of the direction that are in force. */
  rules(context: PolicyContext): readonly ResolvedRule[];
  peersMatch(context: RuleContext): boolean;
  portsMatch(context: RuleContext): boolean;
  /** Decides before any policy is asked; undefined: the policies decide. */
  shortcut(cluster: ResolvedCluster, packet: Packet, ends: PacketEnds): Verdict | undefined;
}

export const API_READING: PolicyReading = {
  policiesOf: policiesSelecting,
  isolatedAnyway: () => false,
  isolates: ({ policy, direction }) => policy.policy.types.includes(direction),
  counts: ({ policy, direction }) => policy.policy.types.includes(direction),
  rules: ({ policy, direction }) => policy[direction],
  peersMatch: ({ rule, peer }) => rule.peers.length === 0 || rule.peers.some((one) => peerMatches(one, peer)),
  portsMatch: ({ rule, packet, ends }) =>
    rule.ports.length === 0 || rule.ports.some((port) => portMatches(port, packet, ends.destination.pod)),
  shortcut: (_cluster, _packet, ends) => apiShortcut(ends),
};

/** A pod to itself and a pod and its own node: never restricted. */
export function apiShortcut({ source, destination }: PacketEnds): Verdict | undefined {
  if (addressesEqual(source.address, destination.address)) return "accept";
  if (source.pod !== undefined && destination.node === source.pod.node) return "accept";
  if (destination.pod !== undefined && source.node === destination.pod.node) return "accept";
  return undefined;
}

export function peerMatches(peer: ResolvedPeer, end: PacketEnd): boolean {
  switch (peer.kind) {
    case "pods":
      return end.pod !== undefined && membersOf(peer.members).has(end.pod);
    case "ipBlock":
      return blockMatches(peer, end.address);
  }
}

export function blockMatches(block: Extract<ResolvedPeer, { kind: "ipBlock" }>, address: IpAddress): boolean {
  return cidrContains(block.cidr, address) && !block.except.some((cidr) => cidrContains(cidr, address));
}

/** A named port is looked up on the containers of the destination pod; sidecars are containers that start early. */
export function portMatches(port: PolicyPort, packet: Packet, destination: Endpoint | undefined): boolean {
  if (protocolName(packet.protocol).toUpperCase() !== port.protocol || !hasPorts(packet.protocol)) return false;
  if (port.port === undefined) return true;
  if (typeof port.port === "number") {
    return packet.destinationPort >= port.port && packet.destinationPort <= (port.endPort ?? port.port);
  }
  return (
    destination?.ports.some(
      (declared) =>
        declared.container !== "init" &&
        declared.name === port.port &&
        declared.protocol === port.protocol &&
        declared.port === packet.destinationPort,
    ) ?? false
  );
}

/** Whether the subject, seen in this direction, lets the packet pass under the reading. */
export function directionAllows(
  reading: PolicyReading,
  { cluster, packet, ends }: Pick<RuleContext, "cluster" | "packet" | "ends">,
  direction: Direction,
): boolean {
  const [own, peer] = direction === "ingress" ? [ends.destination, ends.source] : [ends.source, ends.destination];
  const subject = own.pod;
  if (subject === undefined) return true;
  const contexts = reading
    .policiesOf(cluster, subject)
    .map((policy): PolicyContext => ({ cluster, policy, direction, packet, ends, subject, peer }));
  const isolated =
    reading.isolatedAnyway(cluster, subject, direction) || contexts.some((context) => reading.isolates(context));
  if (!isolated) return true;
  return contexts.some(
    (context) =>
      reading.counts(context) &&
      reading.rules(context).some((rule) => {
        const asked: RuleContext = { ...context, rule };
        return reading.peersMatch(asked) && reading.portsMatch(asked);
      }),
  );
}

/** The verdict of the whole way under a reading; what is refused ends as `deny`. */
export function readingVerdict(
  reading: PolicyReading,
  cluster: ResolvedCluster,
  packet: Packet,
  deny: "drop" | "reject",
): Verdict {
  const ends = packetEnds(cluster, packet);
  const early = reading.shortcut(cluster, packet, ends);
  if (early !== undefined) return early;
  const context = { cluster, packet, ends };
  return directionAllows(reading, context, "egress") && directionAllows(reading, context, "ingress") ? "accept" : deny;
}

/** Who the two ends of a packet are. */
export function packetEnds(cluster: ResolvedCluster, packet: Packet): PacketEnds {
  return { source: endOf(cluster, packet.source), destination: endOf(cluster, packet.destination) };
}

function endOf(cluster: ResolvedCluster, address: IpAddress): PacketEnd {
  const { ends, pods, nodes } = ownersOf(cluster);
  let end = ends.get(address);
  if (end === undefined) {
    const text = formatAddress(address);
    end = { address, pod: pods.get(text), node: nodes.get(text) };
    ends.set(address, end);
  }
  return end;
}

interface Owners {
  readonly pods: ReadonlyMap<string, Endpoint>;
  readonly nodes: ReadonlyMap<string, string>;
  /** Of addresses asked about: a proof asks with the same few values millions of times. */
  readonly ends: WeakMap<IpAddress, PacketEnd>;
}

// Derived from values that never change, and asked once for each packet: remembered as long as the cluster lives.
const OWNERS = new WeakMap<ResolvedCluster, Owners>();
const MEMBERS = new WeakMap<readonly Endpoint[], ReadonlySet<Endpoint>>();
const SELECTING = new WeakMap<ResolvedCluster, Map<Endpoint, readonly ResolvedPolicy[]>>();

function ownersOf(cluster: ResolvedCluster): Owners {
  const known = OWNERS.get(cluster);
  if (known !== undefined) return known;
  const owners: Owners = {
    pods: new Map(cluster.pods.flatMap((pod) => pod.addresses.map((address) => [formatAddress(address), pod]))),
    nodes: new Map(
      cluster.model.nodes.flatMap(({ name, addresses }) => addresses.map((address) => [formatAddress(address), name])),
    ),
    ends: new WeakMap(),
  };
  OWNERS.set(cluster, owners);
  return owners;
}

function membersOf(members: readonly Endpoint[]): ReadonlySet<Endpoint> {
  const known = MEMBERS.get(members);
  if (known !== undefined) return known;
  const set = new Set(members);
  MEMBERS.set(members, set);
  return set;
}

/** Every policy whose selector matches the pod, whatever its types. */
export function policiesSelecting(cluster: ResolvedCluster, pod: Endpoint): readonly ResolvedPolicy[] {
  let byPod = SELECTING.get(cluster);
  if (byPod === undefined) {
    byPod = new Map();
    SELECTING.set(cluster, byPod);
  }
  let selecting = byPod.get(pod);
  if (selecting === undefined) {
    selecting = cluster.policies.filter((policy) => membersOf(policy.subjects).has(pod));
    byPod.set(pod, selecting);
  }
  return selecting;
}
