/** What flows need to pass: rules that somebody would have to write, pod by pod, before they are made few. */
import { DIRECTIONS, type Direction, type Endpoint } from "../../compiler/model.ts";
import { packetEnds } from "../../compiler/policyReading.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { formatAddress, type IpAddress } from "../../dataplane/address.ts";
import { PROTOCOL } from "../../dataplane/packet.ts";
import { refusedDirections } from "../../verify/explain.ts";
import type { FlowReport } from "../report.ts";
import { workloadOf } from "../workload.ts";
import { needKey, type SeenNeed } from "./prune.ts";

export type PeerNeed =
  | { readonly kind: "workload"; readonly workload: string; readonly pods: Set<Endpoint> }
  | { readonly kind: "address"; readonly address: IpAddress };

/** Everything a workload must be allowed in one direction. */
export interface SubjectNeed {
  readonly workload: string;
  readonly namespace: string;
  readonly direction: Direction;
  readonly pods: Set<Endpoint>;
  /** By workload or address. */
  readonly peers: Map<string, PeerPorts>;
  flows: number;
}

export interface PeerPorts {
  readonly peer: PeerNeed;
  /** `TCP/3306`. */
  readonly ports: Set<string>;
}

/** Why no rule can help a flow. */
export type Helpless =
  /** NetworkPolicy names TCP, UDP and SCTP ports; what has none cannot be told from everything else. */
  | "protocol"
  /** The recording begins in its middle, so that it may be its answer that was seen first. */
  | "start missing"
  /** The API text lets it pass; the solution refuses for reasons of its own. */
  | "strategy";

const PORT_PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [PROTOCOL.tcp, "TCP"],
  [PROTOCOL.udp, "UDP"],
  [PROTOCOL.sctp, "SCTP"],
]);

export class Needs {
  readonly subjects = new Map<string, SubjectNeed>();
  /** What must be allowed, pod by pod. */
  readonly seen = new Map<string, SeenNeed>();
  readonly helpless = new Map<Helpless, number>();
  /** Flows that rules are suggested for, by the number of their first packet in the recording. */
  readonly targets: number[] = [];
  readonly #cluster: ResolvedCluster;

  constructor(cluster: ResolvedCluster) {
    this.#cluster = cluster;
  }

  /** A refused flow that should pass; `number` is that of its first packet, `open` the namespaces about to be isolated. */
  addRefused(
    flow: FlowReport,
    { number, open }: { readonly number: number; readonly open: ReadonlySet<string> },
  ): void {
    const refused = refusedDirections(this.#cluster, flow.packet);
    if (refused.length === 0) this.#cannot("strategy");
    else if (this.#add(flow, [...new Set([...refused, ...this.#isolated(flow, open)])])) this.targets.push(number);
  }

  /** A flow that passes, and must still pass when every pod of these namespaces is isolated. */
  addWanted(flow: FlowReport, namespaces: ReadonlySet<string>): void {
    const directions = namespaces.size === 0 ? [] : this.#isolated(flow, namespaces);
    if (directions.length > 0) this.#add(flow, directions);
  }

  /** The directions in which a flow needs a rule once the namespaces are isolated. */
  #isolated(flow: FlowReport, namespaces: ReadonlySet<string>): readonly Direction[] {
    const { source, destination } = packetEnds(this.#cluster, flow.packet);
    // What a pod sends to itself, and what its own node sends or gets, passes whatever the policies say.
    if (source.pod !== undefined && source.pod === destination.pod) return [];
    return DIRECTIONS.filter((direction) => {
      const [subject, peer] = direction === "egress" ? [source, destination] : [destination, source];
      if (subject.pod === undefined || !namespaces.has(subject.pod.namespace)) return false;
      return peer.node === undefined || peer.node !== subject.pod.node;
    });
  }

  #add(flow: FlowReport, directions: readonly Direction[]): boolean {
    const { packet } = flow;
    const protocol = PORT_PROTOCOLS.get(packet.protocol);
    if (protocol === undefined) return this.#cannot("protocol");
    if (flow.isStartMissing) return this.#cannot("start missing");
    const { source, destination } = packetEnds(this.#cluster, packet);
    for (const direction of directions) {
      const [subject, peer] = direction === "egress" ? [source, destination] : [destination, source];
      if (subject.pod === undefined) continue;
      const port = `${protocol}/${packet.destinationPort}`;
      const seen: SeenNeed = { subject: subject.pod, direction, peer: peer.pod, address: peer.address, port };
      this.seen.set(needKey(seen), seen);
      const need = this.#subject(subject.pod, direction);
      need.flows++;
      const workload = peer.pod === undefined ? undefined : workloadOf(peer.pod);
      const key = workload ?? formatAddress(peer.address);
      let ports = need.peers.get(key);
      if (ports === undefined) {
        const who: PeerNeed =
          workload === undefined
            ? { kind: "address", address: peer.address }
            : { kind: "workload", workload, pods: new Set() };
        ports = { peer: who, ports: new Set() };
        need.peers.set(key, ports);
      }
      if (ports.peer.kind === "workload" && peer.pod !== undefined) ports.peer.pods.add(peer.pod);
      ports.ports.add(port);
    }
    return true;
  }

  #subject(pod: Endpoint, direction: Direction): SubjectNeed {
    const workload = workloadOf(pod);
    const key = `${workload} ${direction}`;
    let need = this.subjects.get(key);
    if (need === undefined) {
      need = { workload, namespace: pod.namespace, direction, pods: new Set(), peers: new Map(), flows: 0 };
      this.subjects.set(key, need);
    }
    need.pods.add(pod);
    return need;
  }

  #cannot(why: Helpless): false {
    this.helpless.set(why, (this.helpless.get(why) ?? 0) + 1);
    return false;
  }
}
