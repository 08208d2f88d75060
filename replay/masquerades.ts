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
import type { IpAddress } from "../dataplane/address.ts";
import { AddressTable } from "../dataplane/addressTable.ts";
import { PACKET_FLAG, type PacketBatch, PROTOCOL, TCP_FLAG } from "../dataplane/packet.ts";
import { WINDOW_SECONDS } from "./duplicates.ts";

/** First packets of pods remembered; one that is pushed out of its place by another's is not recognised. */
const PLACES = 4096;
/** Connections remembered; beyond it the oldest is forgotten, and its later packets are the node's. */
const MOST_CONNECTIONS = 262_144;

/** Source or destination of a row. */
interface End {
  readonly words: readonly [number, number, number, number];
  readonly port: number;
}

interface FirstPacket {
  readonly time: number;
  /** All that the translation leaves. */
  readonly same: string;
  readonly node: number;
  readonly pod: End;
}

interface Connection {
  readonly pod: End;
  /** Of its SYN. */
  readonly sequence: number;
}

export class Masquerades {
  /** Connections that were recognised. */
  count = 0;
  /** Twice the number of the node that has the address, plus 1 if it is a pod's. */
  #owners4 = new AddressTable(4);
  #owners6 = new AddressTable(6);
  readonly #firsts: (FirstPacket | undefined)[] = [];
  /** By the ends of a packet from the node. */
  readonly #connections = new Map<string, Connection>();

  constructor(model: ClusterModel) {
    this.become(model);
  }

  /** The cluster is another now. */
  become({ nodes, endpoints }: ClusterModel): void {
    this.#owners4 = new AddressTable(4);
    this.#owners6 = new AddressTable(6);
    const numbers = new Map(nodes.map(({ name }, number) => [name, number]));
    for (const { name, addresses } of nodes)
      for (const each of addresses) this.#own(each, (numbers.get(name) ?? 0) * 2);
    for (const { node, addresses } of endpoints.filter(isOnPodNetwork)) {
      for (const each of addresses) this.#own(each, (numbers.get(node) ?? 0) * 2 + 1);
    }
  }

  /** Gives a row the pod's address in the place of the node's, where that is known. */
  translate(batch: PacketBatch, row: number): void {
    if (batch.protocol[row] !== PROTOCOL.tcp || ((batch.flags[row] ?? 0) & PACKET_FLAG.fragment) !== 0) return;
    const isFirst = ((batch.tcpFlags[row] ?? 0) & (TCP_FLAG.S | TCP_FLAG.A)) === TCP_FLAG.S;
    if (!isFirst && this.#connections.size === 0) return;
    const source = this.#ownerOf(batch, row, SOURCE);
    const destination = this.#ownerOf(batch, row, DESTINATION);
    if (isPod(source) && isFirst && !isPod(destination)) this.#remember(batch, row, source >> 1);
    else if (isNode(source)) this.#fromNode(batch, row, isFirst ? source >> 1 : NOBODY);
    if (isNode(destination)) {
      const known = this.#connections.get(keyOf(batch, row, DESTINATION));
      if (known !== undefined) write(batch, row, DESTINATION, known.pod);
    }
  }

  /** `node`: whose it is when it opens a connection, else `NOBODY`. */
  #fromNode(batch: PacketBatch, row: number, node: number): void {
    const key = keyOf(batch, row, SOURCE);
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
    if (known !== undefined) write(batch, row, SOURCE, known.pod);
  }

  #remember(batch: PacketBatch, row: number, node: number): void {
    const place = placeOf(batch, row);
    const known = this.#firsts[place];
    const same = sameOf(batch, row);
    // The one recorded first is on the pod's own interface.
    if (known?.same === same && (batch.time[row] ?? 0) - known.time <= WINDOW_SECONDS) return;
    this.#firsts[place] = { time: batch.time[row] ?? 0, same, node, pod: endOf(batch, row, SOURCE) };
  }

  #own({ family, words }: IpAddress, value: number): void {
    (family === 4 ? this.#owners4 : this.#owners6).set(words, 0, value);
  }

  #ownerOf(batch: PacketBatch, row: number, columns: Columns): number {
    const word0 = batch[columns.word0][row] ?? 0;
    if (batch.family[row] === 4) return this.#owners4.find4(word0, 0);
    const { word1, word2, word3 } = columns;
    return this.#owners6.find6(word0, batch[word1][row] ?? 0, batch[word2][row] ?? 0, batch[word3][row] ?? 0, 0);
  }
}

const NOBODY = -1;

function isPod(owner: number): boolean {
  return owner >= 0 && (owner & 1) === 1;
}

function isNode(owner: number): boolean {
  return owner >= 0 && (owner & 1) === 0;
}

const SOURCE = {
  word0: "source0",
  word1: "source1",
  word2: "source2",
  word3: "source3",
  port: "sourcePort",
} as const;
const DESTINATION = {
  word0: "destination0",
  word1: "destination1",
  word2: "destination2",
  word3: "destination3",
  port: "destinationPort",
} as const;
type Columns = typeof SOURCE | typeof DESTINATION;

function endOf(batch: PacketBatch, row: number, { word0, word1, word2, word3, port }: Columns): End {
  return {
    words: [batch[word0][row] ?? 0, batch[word1][row] ?? 0, batch[word2][row] ?? 0, batch[word3][row] ?? 0],
    port: batch[port][row] ?? 0,
  };
}

function write(batch: PacketBatch, row: number, { word0, word1, word2, word3, port }: Columns, end: End): void {
  [batch[word0][row], batch[word1][row], batch[word2][row], batch[word3][row]] = end.words;
  batch[port][row] = end.port;
}

/** Both ends of a row, that of the node first. */
function keyOf(batch: PacketBatch, row: number, node: Columns): string {
  const own = endOf(batch, row, node);
  const other = endOf(batch, row, node === SOURCE ? DESTINATION : SOURCE);
  return `${own.words} ${own.port} ${other.words} ${other.port}`;
}

function sameOf(batch: PacketBatch, row: number): string {
  const { words, port } = endOf(batch, row, DESTINATION);
  return `${words} ${port} ${batch.sequence[row]} ${batch.window[row]} ${batch.tcpFlags[row]} ${batch.payloadBytes[row]}`;
}

function placeOf(batch: PacketBatch, row: number): number {
  return (Math.imul(batch.sequence[row] ?? 0, 0x9e3779b1) >>> 16) & (PLACES - 1);
}
