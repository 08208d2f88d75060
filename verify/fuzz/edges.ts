/**
 * Packets at the edges of a cluster's classes: every pod to every other one (the matrix), and between ends and to ports
 * just inside and just outside of what the policies name. First packets of connections, all different ones: no packet of
 * a list is another's answer, so that they may share a connection table.
 */
import type { ClusterModel } from "../../compiler/model.ts";
import { isOnPodNetwork } from "../../compiler/model.ts";
import { type Family, formatAddress, type IpAddress, parseAddress } from "../../dataplane/address.ts";
import { hasPorts, makePacket, type Packet, PROTOCOL, parseProtocol } from "../../dataplane/packet.ts";
import { edgesOf, isRoutable } from "../kernel/packetDomain.ts";
import type { Random } from "../kernel/random.ts";
import { icmpOf, icmpQuestions } from "../spaceReads.ts";

export interface Service {
  readonly protocol: number;
  /** Destination port, or type of ICMP; 0 for other protocols. */
  readonly number: number;
}

/** What the packets of a cluster are made of, one family. */
interface Edges {
  readonly pods: readonly IpAddress[];
  readonly others: readonly IpAddress[];
  /** With ports: what policies and containers name, and its neighbours. */
  readonly ported: readonly Service[];
  readonly portless: readonly Service[];
}

/** Addresses of documentation, and two blocks that clouds and nodes like. */
const OUTSIDE = ["203.0.113.9", "198.51.100.7", "172.16.0.1", "2001:db8::7", "64:ff9b::9"].flatMap(
  (text) => parseAddress(text) ?? [],
);

const MOST_PORT = 65_535;

/** The first port from which senders speak; each packet of a list has its own. */
const FIRST_CLIENT = 20_000;

/** Services that every pair of pods is asked about. */
const MATRIX_SERVICES = 2;

/** About `count` packets beside the matrix of all pods. */
export function edgePackets(model: ClusterModel, random: Random, count: number): readonly Packet[] {
  const taken = new Set<string>();
  const packets: Packet[] = [];
  const add = (source: IpAddress, destination: IpAddress, { protocol, number }: Service): void => {
    if (formatAddress(source) === formatAddress(destination)) return;
    if (!hasPorts(protocol)) {
      // Of protocols without ports, a packet the other way would be an answer.
      const pair = [formatAddress(source), formatAddress(destination)].sort().join();
      const key = `${protocol} ${pair}`;
      if (taken.has(key)) return;
      taken.add(key);
    }
    const icmp = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
    packets.push(
      makePacket({
        protocol,
        source,
        destination,
        ...(hasPorts(protocol) && { sourcePort: FIRST_CLIENT + packets.length, destinationPort: number }),
        ...(icmp && { icmpType: number }),
      }),
    );
  };
  for (const family of [4, 6] as const) {
    const edges = edgesFor(model, family);
    if (edges.pods.length === 0) continue;
    const asked = Array.from({ length: MATRIX_SERVICES }, () => random.pick(edges.ported));
    for (const source of edges.pods) {
      for (const destination of edges.pods) for (const service of asked) add(source, destination, service);
    }
    if (edges.others.length === 0) continue;
    for (let drawn = 0; drawn < count; drawn++) {
      const pod = random.pick(edges.pods);
      const other = random.pick(random.oneIn(3) ? edges.pods : edges.others);
      const service = random.pick(random.oneIn(6) ? edges.portless : edges.ported);
      if (random.oneIn(2)) add(pod, other, service);
      else add(other, pod, service);
    }
  }
  return packets;
}

function edgesFor(model: ClusterModel, family: Family): Edges {
  const own = (addresses: readonly IpAddress[]) => addresses.filter((address) => address.family === family);
  const pods = model.endpoints.filter(isOnPodNetwork).flatMap(({ addresses }) => own(addresses));
  const others = new Map<string, IpAddress>();
  const ports = new Map<string, Service>();
  const addPorts = (protocol: number, first: number, last: number) => {
    for (const number of [first - 1, first, last, last + 1]) {
      if (number >= 0 && number <= MOST_PORT) ports.set(`${protocol} ${number}`, { protocol, number });
    }
  };
  for (const address of own([...model.nodes.flatMap(({ addresses }) => addresses), ...OUTSIDE])) {
    others.set(formatAddress(address), address);
  }
  // Also of pods that have finished or never began: somebody may still read what their status lists.
  for (const pod of model.endpoints.filter((one) => !isOnPodNetwork(one))) {
    for (const address of own(pod.addresses)) others.set(formatAddress(address), address);
  }
  for (const { ingress, egress } of model.policies) {
    for (const { peers, ports: named } of [...ingress, ...egress]) {
      for (const peer of peers) {
        if (peer.kind !== "ipBlock" || peer.cidr.family !== family) continue;
        for (const address of [peer.cidr, ...peer.except].flatMap(edgesOf)) {
          if (isRoutable(address)) others.set(formatAddress(address), address);
        }
      }
      for (const { protocol, port, endPort } of named) {
        if (typeof port === "number") addPorts(parseProtocol(protocol) ?? 0, port, endPort ?? port);
      }
    }
  }
  for (const { ports: declared } of model.endpoints) {
    for (const { protocol, port } of declared) addPorts(parseProtocol(protocol) ?? 0, port, port);
  }
  for (const protocol of [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp]) {
    ports.set(`${protocol} 80`, { protocol, number: 80 });
  }
  const questions = [...icmpQuestions(family)].map((number) => ({ protocol: icmpOf(family), number }));
  const portless = [PROTOCOL.gre, PROTOCOL.esp, UNASSIGNED].map((protocol) => ({ protocol, number: 0 }));
  return { pods, others: [...others.values()], ported: [...ports.values()], portless: [...questions, ...portless] };
}

/** For experiments (RFC 3692). */
const UNASSIGNED = 253;
