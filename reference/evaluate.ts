/**
 * The NetworkPolicy API, executed as it reads: slow, obvious, and sharing no function with what it judges. The rows named
 * here are those of docs/semantics.md.
 */
import type {
  ClusterModel,
  Direction,
  Endpoint,
  NetworkPolicy,
  PolicyPeer,
  PolicyPort,
  PortProtocol,
} from "../compiler/model.ts";
import type { IpAddress } from "../dataplane/address.ts";
import type { FiveTuple } from "../dataplane/packet.ts";
import { liesIn } from "./addresses.ts";
import { type Owner, ownerOf, ownerText } from "./owner.ts";
import { selects } from "./selectors.ts";
import { quote, SENTENCES } from "./sentences.ts";

export type ReferenceVerdict = "accept" | "drop";

export interface ReferenceAnswer {
  /** Accept when both directions do (row 2). */
  readonly verdict: ReferenceVerdict;
  /** A direction that no policy governs is `accept`. */
  readonly directions: Readonly<Record<Direction, ReferenceVerdict>>;
  /** Egress, then ingress: who, which policies or which rule, and the sentence of the API. */
  readonly because: readonly string[];
  /** The same without the ends: equal for packets that the same policies or rules decide in the same way. */
  readonly causes: readonly string[];
}

/** IANA numbers of the protocols a policy can name (row 30). */
const PROTOCOL_NUMBER = { TCP: 6, UDP: 17, SCTP: 132 } as const satisfies Record<PortProtocol, number>;

/** One direction of one packet, seen from the pod that is governed in it. */
interface Passage {
  readonly direction: Direction;
  readonly peer: Owner;
  readonly peerAddress: IpAddress;
  /** The destination pod, on which port names resolve (row 27); undefined: the destination is no pod. */
  readonly destination: Endpoint | undefined;
  readonly packet: FiveTuple;
}

interface Decision {
  readonly verdict: ReferenceVerdict;
  readonly because: string;
  readonly cause: string;
}

/**
 * What the API says about the first packet of a connection. The addresses and ports are those the pods see, after any
 * Service translation (rows 22, 29); flags and fragmentation do not matter, since the API speaks of connections.
 */
export function evaluate(model: ClusterModel, packet: FiveTuple): ReferenceAnswer {
  const source = ownerOf(model, packet.source);
  const destination = ownerOf(model, packet.destination);
  const egress = decide(model, "egress", { packet, source, destination });
  const ingress = decide(model, "ingress", { packet, source, destination });
  return {
    verdict: egress.verdict === "accept" && ingress.verdict === "accept" ? "accept" : "drop",
    directions: { egress: egress.verdict, ingress: ingress.verdict },
    because: [egress.because, ingress.because],
    causes: [egress.cause, ingress.cause],
  };
}

interface Ends {
  readonly packet: FiveTuple;
  readonly source: Owner;
  readonly destination: Owner;
}

function decide(model: ClusterModel, direction: Direction, ends: Ends): Decision {
  const { packet, source, destination } = ends;
  const [subject, peer] = direction === "egress" ? [source, destination] : [destination, source];
  const [subjectAddress, peerAddress] =
    direction === "egress" ? [packet.source, packet.destination] : [packet.destination, packet.source];
  const who = `${direction} of ${ownerText(subject, subjectAddress)}`;

  if (subject.kind !== "pod") return accept(who, quote(SENTENCES[subject.kind]));
  const pod = subject.pod;
  if (peer.kind === "pod" && peer.pod.key === pod.key) return accept(who, quote(SENTENCES.itself));
  if (peer.kind === "node" && peer.node === pod.node) return accept(who, quote(SENTENCES.ownNode));

  const policies = model.policies.filter((policy) => isolates(policy, pod, direction));
  if (policies.length === 0) return accept(who, `not isolated: ${quote(SENTENCES.notIsolated)}`);
  const passage: Passage = {
    direction,
    peer,
    peerAddress,
    destination: destination.kind === "pod" ? destination.pod : undefined,
    packet,
  };
  for (const policy of policies) {
    const path = allowingPath(model, policy, passage);
    if (path !== undefined) return accept(who, `allowed by ${path}: ${quote(SENTENCES.allowed)}`);
  }
  const names = policies.map((policy) => policy.key).join(", ");
  const cause = `is isolated for ${direction} by ${names} and no rule matches: ${quote(SENTENCES.isolated)}`;
  return { verdict: "drop", because: `${pod.key} ${cause}`, cause };
}

function accept(who: string, cause: string): Decision {
  return { verdict: "accept", because: `${who}: ${cause}`, cause };
}

/** Rows 1, 3, 7, 8: the pod is in the policy's namespace, the selector selects it, the direction is among the types. */
function isolates(policy: NetworkPolicy, pod: Endpoint, direction: Direction): boolean {
  return (
    policy.types.includes(direction) && policy.namespace === pod.namespace && selects(policy.podSelector, pod.labels)
  );
}

/** The first rule, peer and port of the policy that match, in the user's words; undefined: none (rows 4 to 6). */
function allowingPath(model: ClusterModel, policy: NetworkPolicy, passage: Passage): string | undefined {
  for (const [ruleIndex, rule] of policy[passage.direction].entries()) {
    const peer = rule.peers.findIndex((candidate) => peerMatches(model, policy, candidate, passage));
    const port = rule.ports.findIndex((candidate) => portMatches(candidate, passage));
    if (rule.peers.length > 0 && peer < 0) continue;
    if (rule.ports.length > 0 && port < 0) continue;
    const list = passage.direction === "ingress" ? "from" : "to";
    const peerText = peer < 0 ? "" : `.${list}[${peer}]`;
    const portText = port < 0 ? "" : ` ports[${port}]`;
    return `${policy.key} ${passage.direction}[${ruleIndex}]${peerText}${portText}`;
  }
  return undefined;
}

function peerMatches(model: ClusterModel, policy: NetworkPolicy, peer: PolicyPeer, passage: Passage): boolean {
  switch (peer.kind) {
    case "ipBlock":
      // Rows 20, 21, 23: addresses of pods count like any other, and an exception carves this entry alone.
      return liesIn(passage.peerAddress, peer.cidr) && !peer.except.some((block) => liesIn(passage.peerAddress, block));
    case "pods": {
      // Rows 11, 12, 14, 34: selectors know pods of the pod network, and nothing else.
      if (passage.peer.kind !== "pod") return false;
      const pod = passage.peer.pod;
      const namespaceMatches =
        peer.namespaceSelector === undefined
          ? pod.namespace === policy.namespace
          : selects(peer.namespaceSelector, namespaceLabels(model, pod.namespace));
      return namespaceMatches && (peer.podSelector === undefined || selects(peer.podSelector, pod.labels));
    }
  }
}

function namespaceLabels(model: ClusterModel, name: string): ReadonlyMap<string, string> {
  const namespace = model.namespaces.find((candidate) => candidate.name === name);
  if (namespace === undefined) throw new Error(`the model has pods in namespace ${name}, but no such namespace`);
  return namespace.labels;
}

/** Rows 25 to 28, 30, 31. */
function portMatches(port: PolicyPort, passage: Passage): boolean {
  const { packet } = passage;
  if (packet.protocol !== PROTOCOL_NUMBER[port.protocol]) return false;
  if (port.port === undefined) return true;
  if (typeof port.port === "number") {
    return packet.destinationPort >= port.port && packet.destinationPort <= (port.endPort ?? port.port);
  }
  return namedPorts(passage.destination, port.port, port.protocol).includes(packet.destinationPort);
}

/**
 * The numbers a port name stands for on a pod: those of its containers and sidecars, which run while the pod serves. An
 * init container that ends before is not asked. One name may stand in several containers; each number counts.
 */
function namedPorts(pod: Endpoint | undefined, name: string, protocol: PortProtocol): readonly number[] {
  if (pod === undefined) return [];
  return pod.ports
    .filter((port) => port.name === name && port.protocol === protocol && port.container !== "init")
    .map((port) => port.port);
}
