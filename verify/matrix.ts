/** Truth tables: what becomes of the first packet between every two pods. */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Family, IpAddress } from "../dataplane/address.ts";
import { hasPorts, parseProtocol, protocolName } from "../dataplane/packet.ts";
import { VERDICTS, type Verdict } from "../dataplane/verdict.ts";
import type { Port } from "../traffic/generate/sessions.ts";
import { AtomSet } from "./atomSet.ts";
import type { Lane } from "./lane.ts";
import { PairVerdicts } from "./pairs/pairVerdicts.ts";
import { openingOf, PairQuestion } from "./pairs/question.ts";
import { SpaceReads } from "./spaceReads.ts";

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
  const cells = lane
    .verdicts(others.map((to) => openingOf(source.address, to.address, port)))
    .map((verdict) => CELL[verdict]);
  cells.splice(index, 0, "#");
  return cells.join("");
}

interface Block {
  readonly from: number;
  readonly to: number;
  /** By source and port. */
  readonly cells: Uint8Array;
}

/** Tables of several ports, side by side: what becomes of the first packet between every two of some pods. */
export class TruthTables {
  readonly #lane: Lane;
  readonly #pods: readonly MatrixPod[];
  readonly #ports: readonly Port[];
  readonly #question: PairQuestion;
  /** Undefined: the lane has no programs, or such as have to be asked with packets. */
  #pairs: PairVerdicts | undefined;
  readonly #groups: readonly PortGroup[];
  /** Bytes from one port's cells to the next, in cells that were decided. */
  readonly #stride: number;
  /** Cells of the sources that were asked about last: from one on, up to another. */
  #block: Block = NO_BLOCK;

  /** Throws a RangeError when there is no pod, or two have one address: of the pods of a cluster one alone has it. */
  constructor(
    lane: Lane,
    cluster: ResolvedCluster,
    { pods, ports }: { readonly pods: readonly MatrixPod[]; readonly ports: readonly Port[] },
  ) {
    this.#lane = lane;
    this.#pods = pods;
    this.#ports = ports;
    this.#question = new PairQuestion(
      pods.map(({ address }) => address),
      ports,
    );
    this.#stride = 32 * this.#question.words;
    const { programs } = lane;
    this.#pairs = programs.length === 0 ? undefined : PairVerdicts.of(programs, this.#question);
    // The reference has no programs: it reads the policies themselves, and tells apart the ports that they do.
    this.#groups = programs.length === 0 ? portsAlike(cluster, ports) : ports.map((_, port) => [port]);
  }

  /** The row of one source in the table of each port, a `MatrixCell` for each pod. */
  rows(index: number): readonly string[] {
    return this.#decided(index) ?? this.#pushed(index);
  }

  #decided(index: number): readonly string[] | undefined {
    const cells = this.#cellsOf(index);
    if (cells === undefined) return undefined;
    for (let port = 0; port < this.#ports.length; port++) cells[port * this.#stride + index] = ITSELF;
    const text = new TextDecoder().decode(cells);
    return this.#ports.map((_, port) => text.slice(port * this.#stride, port * this.#stride + this.#pods.length));
  }

  /** The cells of one source, by port and destination; undefined: packets have to be pushed. */
  #cellsOf(end: number): Uint8Array | undefined {
    const { ends, ports } = this.#question;
    if (this.#pairs !== undefined && (end < this.#block.from || end >= this.#block.to)) {
      const count = Math.max(1, Math.floor(MOST_CELLS / (ends.length * Math.max(1, ports.length))));
      const to = Math.min(end + count, ends.length);
      const sources = new AtomSet(ends.length);
      for (let source = end; source < to; source++) sources.add(source);
      const refusals = this.#pairs.of(sources);
      // Rules that cannot be decided for some are not tried for others.
      if (refusals === undefined) this.#pairs = undefined;
      else this.#block = { from: end, to, cells: refusals.signed(SIGNS) };
    }
    if (this.#pairs === undefined) return undefined;
    const size = this.#stride * ports.length;
    const first = (end - this.#block.from) * size;
    return this.#block.cells.subarray(first, first + size);
  }

  /** Packet by packet, of ports that nobody tells apart those of one. */
  #pushed(index: number): readonly string[] {
    const rows = this.#ports.map(() => "");
    for (const group of this.#groups) {
      const port = this.#ports[group[0] ?? 0];
      if (port === undefined) continue;
      const row = matrixRow(this.#lane, this.#pods, index, port);
      for (const one of group) rows[one] = row;
    }
    return rows;
  }
}

/** Verdicts that are held at once. */
const MOST_CELLS = 1 << 22;

const ITSELF = "#".charCodeAt(0);
const SIGNS = Uint8Array.from(VERDICTS, (verdict) => CELL[verdict].charCodeAt(0));
const NO_BLOCK: Block = { from: 0, to: 0, cells: new Uint8Array(0) };

/** Ports, by their place in the list that was asked about: the first stands for all. */
type PortGroup = readonly number[];

/** Destination ports that no policy tells apart. */
function portsAlike(cluster: ResolvedCluster, ports: readonly Port[]): readonly PortGroup[] {
  const reads = new SpaceReads(4);
  reads.cluster(cluster);
  const groups = new Map<string, number[]>();
  for (const [index, { protocol, port }] of ports.entries()) {
    const starts = [...(reads.starts.get(protocol) ?? [])].filter((start) => start <= port);
    const key = `${protocol} ${Math.max(-1, ...starts)}`;
    const known = groups.get(key);
    if (known === undefined) groups.set(key, [index]);
    else known.push(index);
  }
  return [...groups.values()];
}
