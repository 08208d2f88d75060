/** flat: the strategy of docs/adding-a-strategy.md. A chain for each direction, the rules of all pods of the node in it. */

import {
  DIRECTIONS,
  type Direction,
  type Endpoint,
  type PolicyPort,
  peerPath,
  rulePath,
} from "../../compiler/model.ts";
import type { ResolvedCluster, ResolvedPeer } from "../../compiler/resolve.ts";
import {
  ACCEPT,
  block,
  DROP,
  host,
  inSet,
  jumpTo,
  notInSet,
  ofProtocol,
  RETURN,
  toPorts,
} from "../../compiler/ruleParts.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { type Cidr, type Family, hostCidr } from "../../dataplane/address.ts";
import { PROTOCOL } from "../../dataplane/packet.ts";
import type { Attachment, Chain, IPSet, IPSetMember, Match, Rule } from "../../dataplane/program.ts";

const CHAIN = { egress: "FLAT-EGRESS", ingress: "FLAT-INGRESS" } as const;
const SUBJECT = { egress: "source", ingress: "destination" } as const;
const PEER = { egress: "destination", ingress: "source" } as const;

export const flat: Strategy = {
  name: "flat",
  summary: "a chain for each direction, the rules of all pods of the node in it",
  sources: ["chainwalk's own; no network solution programs this"],
  unsupported: [],
  deviations: [],
  lapses: [],
  denyVerdict: "drop",
  options: [],
  lower(cluster, { node }) {
    const sets: IPSet[] = [];
    const families = ([4, 6] as const).map((family) => {
      const chains = DIRECTIONS.map((direction) => ({
        name: CHAIN[direction],
        rules: cluster.podsOn(node).flatMap((pod) => podRules(cluster, pod, { family, direction, sets })),
      }));
      return { family, tables: [{ name: "filter" as const, chains: [...builtIn(), ...chains] }] };
    });
    return { kind: "tables", strategy: flat.name, node, sets, families, attachment: attach(cluster, node) };
  },
  attach: (cluster, { node }) => attach(cluster, node),
};

function attach(cluster: ResolvedCluster, node: string): Attachment {
  return {
    uplink: "eth0",
    pods: cluster.podsOn(node).map(({ key, addresses }, index) => ({
      endpoint: key,
      addresses,
      interface: `flat${index}`,
    })),
    remotePodAddresses: [],
    localAddresses: cluster.model.nodes.find(({ name }) => name === node)?.addresses ?? [],
  };
}

/** Only what is forwarded is asked about: a pod and its own node reach each other. */
function builtIn(): readonly Chain[] {
  const answers: Match = {
    kind: "ctState",
    states: ["related", "established"],
    extension: "conntrack",
    negate: false,
  };
  const forward: Rule[] = [
    { matches: [answers], target: ACCEPT },
    { matches: [], target: jumpTo(CHAIN.egress) },
    { matches: [], target: jumpTo(CHAIN.ingress) },
  ];
  return [
    { name: "INPUT", policy: "accept", rules: [] },
    { name: "FORWARD", policy: "accept", rules: forward },
    { name: "OUTPUT", policy: "accept", rules: [] },
  ];
}

interface Lowering {
  readonly family: Family;
  readonly direction: Direction;
  /** Where the sets of the rules are put. */
  readonly sets: IPSet[];
}

/** What a policy allows returns, to be asked about the other direction; the rest of an isolated pod is dropped. */
function podRules(cluster: ResolvedCluster, pod: Endpoint, lowering: Lowering): readonly Rule[] {
  const { family, direction } = lowering;
  const policies = cluster.policiesFor(pod, direction);
  if (policies.length === 0) return [];
  const destinations = direction === "ingress" ? [pod] : cluster.pods;
  const addresses = pod.addresses.filter((address) => address.family === family);
  return addresses.flatMap((address) => {
    const subject = host(SUBJECT[direction], address);
    const allowed = policies.flatMap(({ policy, [direction]: rules }) =>
      rules.flatMap(({ index, peers, ports }) => {
        const path = rulePath(policy, direction, index);
        const from = peers.flatMap((peer) => {
          const origin = peerPath(policy, direction, index, peer.index);
          const matches = peerMatches(peer, lowering, origin);
          return matches === undefined ? [] : [{ matches, origin }];
        });
        const to = ports.map((port) => portMatches(port, { ...lowering, destinations, origin: path }));
        return (peers.length === 0 ? [{ matches: [], origin: path }] : from).flatMap(({ matches, origin }) =>
          (ports.length === 0 ? [[]] : to).map((service) => ({
            matches: [subject, ...matches, ...service],
            target: RETURN,
            origin,
          })),
        );
      }),
    );
    return [...allowed, { matches: [subject], target: DROP, origin: `pod ${pod.key}` }];
  });
}

/** Undefined: nobody of this family. */
function peerMatches(peer: ResolvedPeer, lowering: Lowering, origin: string): readonly Match[] | undefined {
  const { family, direction } = lowering;
  const side = PEER[direction];
  if (peer.kind === "ipBlock") {
    if (peer.cidr.family !== family) return undefined;
    const matches = [block(side, peer.cidr)];
    if (peer.except.length === 0) return matches;
    return [...matches, notInSet(newSet(lowering, { type: "hash:net", members: peer.except.map(net), origin }), side)];
  }
  const addresses = peer.members.flatMap((pod) => pod.addresses).filter((address) => address.family === family);
  return [inSet(newSet(lowering, { type: "hash:ip", members: addresses.map(hostCidr).map(net), origin }), side)];
}

interface NewSet {
  readonly type: "hash:ip" | "hash:net" | "hash:ip,port";
  readonly members: readonly IPSetMember[];
  readonly origin: string;
}

/** Names are numbers in the order of the rules, so that they are equal whenever the cluster is. */
function newSet({ family, sets }: Lowering, { type, members, origin }: NewSet): string {
  const name = `FLAT-${sets.length}`;
  const once = new Map(members.map((member) => [JSON.stringify(member), member]));
  sets.push({ name, type, family, members: [...once.values()], options: {}, origin });
  return name;
}

const net = (cidr: Cidr): IPSetMember => ({ kind: "net", cidr });

/** A name is the number that each destination pod gives it: a set of addresses with their numbers. */
function portMatches(
  { protocol, port, endPort }: PolicyPort,
  { destinations, origin, ...lowering }: Lowering & { destinations: readonly Endpoint[]; origin: string },
): readonly Match[] {
  const extension = EXTENSION[protocol];
  const own = ofProtocol(PROTOCOL[extension]);
  if (port === undefined) return [own];
  if (typeof port === "number") return [own, toPorts(extension, { first: port, last: endPort ?? port })];
  const members = destinations.flatMap((pod) =>
    pod.addresses
      .filter((address) => address.family === lowering.family)
      .flatMap((address) =>
        pod.ports
          .filter((each) => each.name === port && each.protocol === protocol && each.container !== "init")
          .map((each): IPSetMember => {
            return { kind: "netPort", cidr: hostCidr(address), protocol: PROTOCOL[extension], port: each.port };
          }),
      ),
  );
  const set = newSet(lowering, { type: "hash:ip,port", members, origin });
  return [{ kind: "set", set, sides: ["destination", "destination"], negate: false }];
}

const EXTENSION = { TCP: "tcp", UDP: "udp", SCTP: "sctp" } as const;
