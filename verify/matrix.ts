/** Truth tables: what becomes of the first packet between every two pods. */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Family, IpAddress } from "../dataplane/address.ts";
import { hasPorts, makePacket, type Packet, parseProtocol, protocolName } from "../dataplane/packet.ts";
import type { Verdict } from "../dataplane/verdict.ts";
import type { Port } from "../traffic/generate/sessions.ts";
import type { Lane } from "./lane.ts";
import type { PortGroup, PortsAlike } from "./portsAlike.ts";

/** A pod that can send and receive. */
export interface MatrixPod {
  readonly key: string;
  readonly address: IpAddress;
}

/** `.` accept, `X` drop, `R` reject, `?` unknown, `#` itself. */
export type MatrixCell = "." | "X" | "R" | "?" | "#";

const CELL: Readonly<Record<Verdict, MatrixCell>> = { accept: ".", drop: "X", reject: "R", unknown: "?" };

/** IPv4 unless no pod has such an address: a packet has one family, so a table has one. */
export function matrixFamily({ pods }: ResolvedCluster): Family {
  return pods.some(({ addresses }) => addresses.some((address) => address.family === 4)) ? 4 : 6;
}

/** The pods that have an address of the family. */
export function matrixPods(pods: ResolvedCluster["pods"], family: Family): readonly MatrixPod[] {
  return pods.flatMap((pod) => {
    const address = pod.addresses.find((candidate) => candidate.family === family);
    return address === undefined ? [] : [{ key: pod.key, address }];
  });
}

/** Tables of several ports, side by side. */
export interface MatrixTable {
  readonly pods: readonly MatrixPod[];
  readonly ports: readonly Port[];
  readonly alike: Pick<PortsAlike, "groupsOf">;
}

/** What the cluster itself speaks of: container ports, and the numbers in policies. */
export function matrixPorts({ pods, model }: ResolvedCluster): readonly Port[] {
  // By name of the protocol: ports are many, and mostly the same.
  const found = new Map<string, Set<number>>();
  const add = (name: string, port: number) => {
    const known = found.get(name);
    if (known === undefined) found.set(name, new Set([port]));
    else known.add(port);
  };
  for (const pod of pods) for (const { protocol, port } of pod.ports) add(protocol, port);
  for (const { ingress, egress } of model.policies) {
    for (const rules of [ingress, egress]) {
      for (const { ports } of rules) {
        for (const { protocol, port, endPort } of ports) {
          if (typeof port === "number") add(protocol, port);
          if (endPort !== undefined) add(protocol, endPort);
        }
      }
    }
  }
  if (found.size === 0) add("tcp", 80);
  return [...found]
    .flatMap(([name, ports]): Port[] => {
      const protocol = parseProtocol(name);
      return protocol === undefined ? [] : [...ports].map((port) => ({ protocol, port }));
    })
    .sort((a, b) => a.protocol - b.protocol || a.port - b.port);
}

export function portText({ protocol, port }: Port): string {
  return hasPorts(protocol) ? `${protocolName(protocol)}/${port}` : protocolName(protocol);
}

/** A row of the table of one port: the source of that index to every pod, a `MatrixCell` each. */
export function matrixRow(lane: Lane, pods: readonly MatrixPod[], index: number, port: Port): string {
  const source = pods[index];
  if (source === undefined) throw new Error(`the matrix has no pod ${index}`);
  // Tuples of one source do not meet each other; a flush before each source keeps the table of connections small.
  lane.flush();
  const others = pods.filter((destination) => destination !== source);
  const cells = lane.verdicts(others.map((to) => openingOf(source, to, port))).map((verdict) => CELL[verdict]);
  cells.splice(index, 0, "#");
  return cells.join("");
}

/** Packets between two flushes: more would find the table of connections full in a large cluster. */
const MOST_TOGETHER = 4_096;

/** The rows of one source in the tables of all ports; of each group of `alike` one port is asked about. */
export function matrixRows(lane: Lane, { pods, ports, alike }: MatrixTable, index: number): readonly string[] {
  const source = pods[index];
  if (source === undefined) throw new Error(`the matrix has no pod ${index}`);
  // By packet the ports that it speaks for, and the destination's place: lists, where a record each would be tens of thousands.
  const packets: Packet[] = [];
  const asked: PortGroup[] = [];
  const columns: number[] = [];
  const byColumn = alike.groupsOf(index);
  for (let column = 0; column < byColumn.length; column++) {
    const destination = pods[column];
    if (destination === undefined || destination === source) continue;
    for (const group of byColumn[column] ?? []) {
      const port = ports[group[0] ?? 0];
      if (port === undefined) continue;
      packets.push(openingOf(source, destination, port));
      asked.push(group);
      columns.push(column);
    }
  }
  const cells = new Uint8Array(ports.length * pods.length).fill(ITSELF);
  for (let from = 0; from < packets.length; from += MOST_TOGETHER) {
    lane.flush();
    const verdicts = lane.verdicts(packets.slice(from, from + MOST_TOGETHER));
    for (let at = 0; at < verdicts.length; at++) {
      const cell = CELL[verdicts[at] ?? "unknown"].charCodeAt(0);
      const column = columns[from + at] ?? 0;
      const group = asked[from + at];
      if (group !== undefined) write(cells, group, pods.length, column, cell);
    }
  }
  const text = new TextDecoder().decode(cells);
  return ports.map((_, port) => text.slice(port * pods.length, (port + 1) * pods.length));
}

/** Of a function that is called so often the compiler makes fast code early, where it hardly would of a loop within loops. */
function write(cells: Uint8Array, group: PortGroup, width: number, column: number, cell: number): void {
  for (let at = 0; at < group.length; at++) cells[(group[at] ?? 0) * width + column] = cell;
}

const ITSELF = "#".charCodeAt(0);

function openingOf(from: MatrixPod, to: MatrixPod, { protocol, port }: Port): Packet {
  return makePacket({ protocol, source: from.address, destination: to.address, destinationPort: port });
}
