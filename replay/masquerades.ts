/**
 * Connections that a node sends on under its own address (MASQUERADE, SNAT), in a recording that has both sides of it. The node
 * translates behind every policy (POSTROUTING comes after FORWARD), so the connection is the pod's; recorded on the way to the world it
 * looks like one of the node beside it. Packets recorded there are given the pod's address and port, and answers likewise: then they
 * are copies of those recorded on the pod's side.
 *
 * A translation is seen at its first packet: a SYN from an address of a node, within `WINDOW_SECONDS` of one of a pod of that node that
 * is the same but for its source. TCP alone has numbers that tell connections apart. A destination that is a pod is left as it is:
 * its own node sees the translated source, and policies there are asked about that one.
 */
import type { ClusterModel } from "../compiler/model.ts";
import { isOnPodNetwork } from "../compiler/model.ts";
import { PACKET_FLAG, type PacketBatch, PROTOCOL, TCP_FLAG } from "../dataplane/packet.ts";
import { WINDOW_SECONDS } from "./duplicates.ts";
import { EndTable, type EndValues, endOf, type PacketEnd, setEnd } from "./endTable.ts";

/** First packets of pods remembered; one that is pushed out of its place by another's is not recognised. */
const PLACES = 4096;
/** Connections remembered; beyond it the oldest is forgotten, and its later packets are the node's. */
const MOST_CONNECTIONS = 262_144;

interface FirstPacket {
  readonly time: number;
  /** All that the translation leaves. */
  readonly same: string;
  readonly node: number;
  readonly pod: EndValues;
}

interface Connection {
  readonly pod: EndValues;
  /** Of its SYN. */
  readonly sequence: number;
}

export class Masquerades {
  /** Connections that were recognised. */
  count = 0;
  /** Twice the number of the node that has the address, plus 1 if it is a pod's. */
  #owners = new EndTable();
  readonly #firsts: (FirstPacket | undefined)[] = [];
  /** By the ends of a packet from the node. */
  readonly #connections = new Map<string, Connection>();

  constructor(model: ClusterModel) {
    this.become(model);
  }

  /** The cluster is another now. */
  become({ nodes, endpoints }: ClusterModel): void {
    this.#owners = new EndTable();
    const numbers = new Map(nodes.map(({ name }, number) => [name, number]));
    for (const { name, addresses } of nodes)
      for (const each of addresses) this.#owners.set(each, 0, (numbers.get(name) ?? 0) * 2);
    for (const { node, addresses } of endpoints.filter(isOnPodNetwork)) {
      for (const each of addresses) this.#owners.set(each, 0, (numbers.get(node) ?? 0) * 2 + 1);
    }
  }

  /** Gives a row the pod's address in the place of the node's, where that is known. */
  translate(batch: PacketBatch, row: number): void {
    if (batch.protocol[row] !== PROTOCOL.tcp || ((batch.flags[row] ?? 0) & PACKET_FLAG.fragment) !== 0) return;
    const isFirst = ((batch.tcpFlags[row] ?? 0) & (TCP_FLAG.S | TCP_FLAG.A)) === TCP_FLAG.S;
    if (!isFirst && this.#connections.size === 0) return;
    const source = this.#owners.find(batch, row, "source", 0);
    const destination = this.#owners.find(batch, row, "destination", 0);
    if (isPod(source) && isFirst && !isPod(destination)) this.#remember(batch, row, source >> 1);
    else if (isNode(source)) this.#fromNode(batch, row, isFirst ? source >> 1 : NOBODY);
    if (isNode(destination)) {
      const known = this.#connections.get(keyOf(batch, row, "destination"));
      if (known !== undefined) setEnd(batch, row, "destination", known.pod);
    }
  }

  /** `node`: whose it is when it opens a connection, else `NOBODY`. */
  #fromNode(batch: PacketBatch, row: number, node: number): void {
    const key = keyOf(batch, row, "source");
    let known = this.#connections.get(key);
    const sequence = batch.sequence[row] ?? 0;
    if (node !== NOBODY && known?.sequence !== sequence) {
      // Another connection of that port, a pod's or the node's own.
      this.#connections.delete(key);
      known = undefined;
      const same = sameOf(batch, row);
      const first = this.#firsts[placeOf(batch, row)];
      const isIt =
        first?.same === same && first.node === node && Math.abs((batch.time[row] ?? 0) - first.time) <= WINDOW_SECONDS;
      if (isIt) {
        known = { pod: first.pod, sequence };
        this.count++;
        if (this.#connections.size >= MOST_CONNECTIONS) {
          for (const oldest of this.#connections.keys()) {
            this.#connections.delete(oldest);
            break;
          }
        }
        this.#connections.set(key, known);
      }
    }
    if (known !== undefined) setEnd(batch, row, "source", known.pod);
  }

  #remember(batch: PacketBatch, row: number, node: number): void {
    const place = placeOf(batch, row);
    const known = this.#firsts[place];
    const same = sameOf(batch, row);
    // The one recorded first is on the pod's own interface.
    if (known?.same === same && (batch.time[row] ?? 0) - known.time <= WINDOW_SECONDS) return;
    this.#firsts[place] = { time: batch.time[row] ?? 0, same, node, pod: endOf(batch, row, "source") };
  }
}

const NOBODY = -1;

function isPod(owner: number): boolean {
  return owner >= 0 && (owner & 1) === 1;
}

function isNode(owner: number): boolean {
  return owner >= 0 && (owner & 1) === 0;
}

/** Both ends of a row, that of the node first. */
function keyOf(batch: PacketBatch, row: number, node: PacketEnd): string {
  const own = endOf(batch, row, node);
  const other = endOf(batch, row, node === "source" ? "destination" : "source");
  return `${own.words} ${own.port} ${other.words} ${other.port}`;
}

function sameOf(batch: PacketBatch, row: number): string {
  const { words, port } = endOf(batch, row, "destination");
  return `${words} ${port} ${batch.sequence[row]} ${batch.window[row]} ${batch.tcpFlags[row]} ${batch.payloadBytes[row]}`;
}

function placeOf(batch: PacketBatch, row: number): number {
  return (Math.imul(batch.sequence[row] ?? 0, 0x9e3779b1) >>> 16) & (PLACES - 1);
}
