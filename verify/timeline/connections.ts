/**
 * Live connections across the steps of a story: opened under the rules of their time, kept by connection tracking, asked
 * again after each operation and once the step is over.
 *
 * One TCP connection or UDP conversation for each class of packets between two pods, of which one is on the node, that the
 * state before a step accepts. When it is asked each sends one packet more, as the original sender, and gets one back; what
 * is refused in between is sent again later, as TCP does. An address that a new pod took over takes over what is tracked for
 * it.
 */
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import type { ConnectionFlush } from "../../compiler/update/operation.ts";
import { addressesEqual, formatAddress, type IpAddress } from "../../dataplane/address.ts";
import type { Dataplane } from "../../dataplane/dataplane.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { makePacket, type Packet, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import type { Program } from "../../dataplane/program.ts";
import type { Moment } from "./moments.ts";
import type { Transients } from "./transients.ts";

export type Fate = "survive" | "cut" | "inherited" | "stalled";

export interface ConnectionFates {
  readonly survive: number;
  /** Same ends as before, refused now. */
  readonly cut: number;
  /** An end's address has another owner now, and the segments of the new owner pass. */
  readonly inherited: number;
  /** Of those that survive: refused after some operation of the step. */
  readonly stalled: number;
  /** Operations were skipped because asking after each would have been too much. */
  readonly isSampled: boolean;
  readonly examples: Readonly<Partial<Record<Fate, Connection>>>;
}

export interface Connection {
  readonly protocol: number;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly destinationPort: number;
  /** Pods that opened and answered. */
  readonly from: string;
  readonly to: string;
}

interface OpenConnection extends Omit<Connection, "from" | "to"> {
  from: string;
  to: string;
  isStalled: boolean;
  /** The next sequence numbers of both ends. */
  sent: number;
  received: number;
}

/** Most connections kept open; further classes stay closed. */
const MOST = 4000;
/** Exchanges in the middle of a step, at most; of more, every few operations are asked after. */
const MOST_EXCHANGES = 100_000;
/** A port that no class of packets has as its first, and no default either. */
const SOURCE_PORT = 45_871;
/** Seconds between two steps: less than any timeout of a connection that is in use, UDP's 30 the least of them. */
const STEP_SECONDS = 20;

export interface StepStates {
  readonly before: Program;
  readonly moments: readonly Moment[];
  readonly transients: Pick<Transients, "spaces">;
  readonly clusters: { readonly before: ResolvedCluster; readonly after: ResolvedCluster };
}

export class LiveConnections {
  readonly #fabric: Fabric;
  #open = new Map<string, OpenConnection>();
  #time = 0;

  constructor(program: Program) {
    this.#fabric = new Fabric([program], { only: program.node, engine: "walk" });
  }

  /** Opens what the state before the step lets open, takes it through the step, and says what became of it. */
  through({ before, moments, transients, clusters }: StepStates): ConnectionFates {
    this.#time += STEP_SECONDS;
    this.#fabric.load([before]);
    this.#openAll(before, transients, clusters.before);
    for (const connection of this.#open.values()) connection.isStalled = false;
    const owners = ownersIn(clusters.after);
    const ends = moments.filter(({ operation }, index) => operation !== moments[index + 1]?.operation);
    const stride = Math.ceil((ends.length * this.#open.size) / MOST_EXCHANGES);
    for (const moment of moments) {
      const { flush, program } = moment;
      const number = ends.indexOf(moment);
      if (number >= 0 && number < ends.length - 1 && number % stride === 0) {
        this.#fabric.load([program]);
        this.#askWhile(owners);
      }
      if (flush !== undefined) for (const node of this.#fabric.nodes) flushConnections(node, flush);
    }
    this.#fabric.load([moments.at(-1)?.program ?? before]);
    return { ...this.#ask(owners), isSampled: stride > 1 };
  }

  /** Those whose ends have not changed owners. */
  #askWhile(owners: ReadonlyMap<string, string>): void {
    for (const connection of this.#open.values()) {
      const { source, destination, from, to } = connection;
      if (owners.get(formatAddress(source)) !== from || owners.get(formatAddress(destination)) !== to) continue;
      if (!this.#exchange(connection)) connection.isStalled = true;
    }
  }

  #openAll({ attachment }: Program, { spaces }: Pick<Transients, "spaces">, cluster: ResolvedCluster): void {
    const owners = ownersIn(cluster);
    const local = new Set(attachment.pods.flatMap(({ addresses }) => addresses.map(formatAddress)));
    for (const { addresses, services } of spaces) {
      const pods = addresses.filter(
        ({ pod, representative }) => pod !== undefined && owners.has(formatAddress(representative)),
      );
      const ports = services.flatMap(({ protocol, ports: range }) =>
        (protocol === PROTOCOL.tcp || protocol === PROTOCOL.udp) && range !== undefined
          ? [[protocol, range.first] as const]
          : [],
      );
      for (const { representative: source } of pods) {
        for (const { representative: destination } of pods) {
          const [from, to] = [owners.get(formatAddress(source)), owners.get(formatAddress(destination))];
          if (source === destination || from === undefined || to === undefined || from === to) continue;
          if (!local.has(formatAddress(source)) && !local.has(formatAddress(destination))) continue;
          for (const [protocol, destinationPort] of ports) {
            this.#openOne({ protocol, source, destination, destinationPort, from, to });
          }
        }
      }
    }
  }

  #openOne(ends: Connection): void {
    if (this.#open.size >= MOST) return;
    const { protocol, source, destination, destinationPort } = ends;
    const key = `${protocol} ${formatAddress(source)} ${formatAddress(destination)} ${destinationPort}`;
    if (this.#open.has(key)) return;
    const connection: OpenConnection = { ...ends, isStalled: false, sent: 1000, received: 5000 };
    if (protocol === PROTOCOL.udp) {
      if (this.#exchange(connection)) this.#open.set(key, connection);
      return;
    }
    if (!this.#send(connection, TCP_FLAG.S, "original")) return;
    connection.sent++;
    if (!this.#send(connection, TCP_FLAG.S | TCP_FLAG.A, "reply")) return;
    connection.received++;
    if (this.#send(connection, TCP_FLAG.A, "original")) this.#open.set(key, connection);
  }

  #ask(owners: ReadonlyMap<string, string>): Omit<ConnectionFates, "isSampled"> {
    const counts = { survive: 0, cut: 0, inherited: 0, stalled: 0 };
    const examples: Partial<Record<Fate, Connection>> = {};
    for (const [key, connection] of this.#open) {
      const [from, to] = [connection.source, connection.destination].map((end) => owners.get(formatAddress(end)));
      // Without an owner nobody speaks; what is tracked waits for whoever gets the address.
      if (from === undefined || to === undefined) continue;
      const isHanded = from !== connection.from || to !== connection.to;
      const passes = this.#exchange(connection);
      if (!passes) this.#open.delete(key);
      Object.assign(connection, { from, to });
      if (isHanded && !passes) continue;
      const fate: Fate = isHanded ? "inherited" : passes ? "survive" : "cut";
      counts[fate]++;
      examples[fate] ??= { ...connection };
      if (fate !== "survive" || !connection.isStalled) continue;
      counts.stalled++;
      examples.stalled ??= { ...connection };
    }
    return { ...counts, examples };
  }

  /** One byte and its acknowledgement. */
  #exchange(connection: OpenConnection): boolean {
    if (!this.#send(connection, TCP_FLAG.P | TCP_FLAG.A, "original")) return false;
    connection.sent++;
    return this.#send(connection, TCP_FLAG.A, "reply");
  }

  #send(connection: OpenConnection, tcpFlags: number, direction: "original" | "reply"): boolean {
    const { protocol, source, destination, destinationPort, sent, received } = connection;
    const isOriginal = direction === "original";
    const isFirst = tcpFlags === TCP_FLAG.S;
    const packet: Packet = makePacket({
      protocol,
      source: isOriginal ? source : destination,
      destination: isOriginal ? destination : source,
      sourcePort: isOriginal ? SOURCE_PORT : destinationPort,
      destinationPort: isOriginal ? destinationPort : SOURCE_PORT,
      time: this.#time,
      tcpFlags,
      sequence: isOriginal ? sent : received,
      acknowledgment: isFirst ? 0 : isOriginal ? received : sent,
      payloadBytes: (tcpFlags & TCP_FLAG.P) !== 0 ? 1 : 0,
    });
    return this.#fabric.push(packet).verdict === "accept";
  }
}

/** `conntrack --delete` as the operation has it. */
export function flushConnections(node: Dataplane, { address, end }: ConnectionFlush): void {
  node.deleteConnections(({ source, destination }) =>
    addressesEqual(end === "original source" ? source : destination, address),
  );
}

function ownersIn({ pods }: ResolvedCluster): ReadonlyMap<string, string> {
  return new Map(pods.flatMap(({ key, addresses }) => addresses.map((address) => [formatAddress(address), key])));
}
