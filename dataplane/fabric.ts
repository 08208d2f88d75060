/** Several nodes: the source's node, then the destination's, each with its own tables and connection tracking. */
import type { IpAddress } from "./address.ts";
import { AddressTable } from "./addressTable.ts";
import { Dataplane, type DataplaneOptions } from "./dataplane.ts";
import { NO_DEVICE } from "./devices.ts";
import { appendPacket, createBatch, PATH, type Packet, type PacketBatch } from "./packet.ts";
import type { Program } from "./program.ts";
import { createResults, DECISION, type Hop, type PacketResult, type ResultBatch } from "./result.ts";
import { NodeRoutes } from "./routes.ts";
import { type TraceSink, WalkRecorder } from "./trace.ts";
import { addWork, CT_STATES, NO_WORK, VERDICT_CODE, VERDICTS, type Work } from "./verdict.ts";

export interface FabricOptions extends DataplaneOptions {
  /** Record the rules that matched in `Hop.walk`; `push` only. */
  readonly walk?: boolean;
  /**
   * Push every packet on the node of this name alone, whoever sent it: for a program read from a real node. Addresses
   * the node does not know are behind its uplink.
   */
  readonly only?: string;
}

/** Most nodes a packet passes. */
const MOST_HOPS = 2;

/** The node of an address that belongs to no node. */
const NOWHERE = -1;

/** In place of a place: the node's routes have to say. */
const UNKNOWN = -1;

/** The part of a node in a run of rows: it is the first or the second that its rows meet, never both. */
const PART = { first: 0, second: 1 } as const;

/** Results of a fabric as columns, row for row beside the `PacketBatch`. */
export interface FabricResults {
  /** `VERDICT_CODE` of the whole way. */
  readonly verdict: Uint8Array;
  /** How many nodes saw the packet: 0–2. */
  readonly hopCount: Uint8Array;
  /** What the first and the second node did; a row means something only where `hopCount` says so. */
  readonly hops: readonly FabricHopResults[];
}

export interface FabricHopResults {
  /** Index into `Fabric.nodes`. */
  readonly node: Uint16Array;
  readonly results: ResultBatch;
}

/** Results for batches of up to `capacity` packets. */
export function createFabricResults(capacity: number): FabricResults {
  return {
    verdict: new Uint8Array(capacity),
    hopCount: new Uint8Array(capacity),
    hops: Array.from({ length: MOST_HOPS }, () => ({
      node: new Uint16Array(capacity),
      results: createResults(capacity),
    })),
  };
}

/**
 * The nodes of a cluster and the way between them.
 *
 * A packet meets the node that has its source, then, if that one let it pass, the node that has its destination; once
 * when they are one node, as on a real host. Addresses of no node are outside: only the other end's node sees such a
 * packet. What a pod sends to its own address never leaves it (semantics of the NetworkPolicy API), what a node sends
 * to itself neither.
 */
export class Fabric {
  readonly #options: FabricOptions;
  #nodes: readonly Dataplane[];
  /** Numbers of the addresses that belong to nodes, and by number: the node, and the address's place on it. */
  #known4 = new AddressTable(4);
  #known6 = new AddressTable(6);
  #owners: number[] = [];
  #places: number[] = [];
  /**
   * By node: whether every address of another node is elsewhere to it. Not so with a port of its bridge for the pods of
   * the others (weave-net), or when it claims an address that another node has.
   */
  #seesOthersElsewhere: boolean[] = [];
  /** By node: the routes that the places are of. A node may be loaded on its own, too. */
  #routes: NodeRoutes[] = [];
  #only = NOWHERE;
  /** By row of the batch under way: numbers of its addresses, -1: of no node; and the nodes it is to meet in order. */
  #sources = new Int32Array(1);
  #destinations = new Int32Array(1);
  #firsts = new Int32Array(1);
  #seconds = new Int32Array(1);
  /** By node: twice the number of the last run it was part of, plus its part there (`PART`). */
  #parts = new Float64Array(0);
  #run = 0;
  /** Whether a node has the second part in the run under way. */
  #hasSeconds = false;
  /** Columns of `push`: batches of one. */
  readonly #oneBatch = createBatch(1);
  readonly #oneResult = createFabricResults(1);
  /** Columns and listener at hand. */
  #batch = this.#oneBatch;
  #results = this.#oneResult;
  #sink: TraceSink | undefined;

  /** Throws when two programs are for one node, or `only` names none of them. */
  constructor(programs: readonly Program[], options: FabricOptions = {}) {
    this.#options = options;
    this.#nodes = [];
    this.load(programs);
  }

  /** The nodes, in the order of the programs. */
  get nodes(): readonly Dataplane[] {
    return this.#nodes;
  }

  /**
   * The cluster changed: these programs take the place of the old ones. Connection tracking of a node lives on, as it
   * does in a kernel; a node that is new starts with none, one that is gone takes its connections along.
   */
  load(programs: readonly Program[]): void {
    const names = programs.map(({ node }) => node);
    if (new Set(names).size !== names.length) throw new Error(`two programs for one node: ${names.join(", ")}`);
    const before = new Map(this.#nodes.map((node) => [node.node, node]));
    this.#nodes = programs.map((program) => {
      const known = before.get(program.node);
      if (known === undefined) return new Dataplane(program, this.#options);
      known.load(program);
      return known;
    });
    const pods = programs.reduce((count, { attachment }) => count + attachment.pods.length, programs.length);
    this.#known4 = new AddressTable(4, pods);
    this.#known6 = new AddressTable(6);
    this.#owners = [];
    this.#places = [];
    this.#seesOthersElsewhere = programs.map(({ attachment }) => attachment.remotePodsPort === undefined);
    this.#routes = this.#nodes.map(({ routes }) => routes);
    this.#parts = new Float64Array(this.#nodes.length);
    for (const [node, { attachment }] of programs.entries()) {
      for (const address of attachment.localAddresses) this.#own(address, node);
      for (const pod of attachment.pods) for (const address of pod.addresses) this.#own(address, node);
    }
    const { only } = this.#options;
    if (only === undefined) return;
    this.#only = names.indexOf(only);
    if (this.#only === NOWHERE) throw new Error(`no program for node ${only}, only for ${names.join(", ")}`);
  }

  /** One packet through every node on its way; the connection tables remember it. */
  push(packet: Packet, sink?: TraceSink): PacketResult {
    const walks = this.#options.walk === true ? new WalkRecorder(sink) : undefined;
    this.#batch = this.#oneBatch;
    this.#results = this.#oneResult;
    this.#sink = walks ?? sink;
    this.#batch.length = 0;
    appendPacket(this.#batch, packet);
    this.#pushRuns();
    const result = this.result(this.#results, 0);
    if (walks === undefined) return result;
    return { ...result, hops: result.hops.map((hop) => ({ ...hop, walk: walks.walkOn(hop.node) })) };
  }

  /** A batch of packets, in order, each through every node on its way. Path and device columns are overwritten. */
  pushBatch(batch: PacketBatch, results: FabricResults): void {
    this.#batch = batch;
    this.#results = results;
    this.#sink = undefined;
    this.#pushRuns();
  }

  /** A row of results as an object for people. Decisions are read from the programs, so read before `load`. */
  result(results: FabricResults, row: number): PacketResult {
    const hops: Hop[] = [];
    for (const hop of results.hops.slice(0, results.hopCount[row])) {
      const dataplane = this.#nodes[hop.node[row] ?? 0];
      if (dataplane !== undefined) hops.push(hopAt(dataplane, hop.results, row));
    }
    const last = hops.at(-1);
    return {
      verdict: VERDICTS[results.verdict[row] ?? 0] ?? "unknown",
      reason: last?.reason,
      ctState: last?.ctState ?? "untracked",
      decidedBy: last?.decidedBy,
      hops,
      work: hops.reduce((sum, { work }) => addWork(sum, work), NO_WORK),
    };
  }

  /** Every node forgets all connections. */
  flushConntrack(): void {
    for (const node of this.#nodes) node.flushConntrack();
  }

  #own(address: IpAddress, node: number): void {
    const { family, words } = address;
    const [word0 = 0, word1 = 0, word2 = 0, word3 = 0] = words;
    const known = family === 4 ? this.#known4.find4(word0, 0) : this.#known6.find6(word0, word1, word2, word3, 0);
    if (known >= 0) {
      if (this.#owners[known] !== node) this.#seesOthersElsewhere[node] = false;
      return;
    }
    (family === 4 ? this.#known4 : this.#known6).set(words, 0, this.#owners.length);
    this.#owners.push(node);
    this.#places.push(this.#nodes[node]?.routes.place(family, word0, word1, word2, word3) ?? NodeRoutes.ELSEWHERE);
  }

  /**
   * Pushes the batch run by run. A run is rows in which no node is the first of one row and the second of another; then
   * every row may meet its first node before any meets its second, and each node still sees its packets in their order.
   * That matters, because to hand over a single row costs as much as to decide it: rows go together as long as they are
   * neighbours at the same node. Probes of one pod to all others are one run; where pods of two nodes answer each other,
   * runs are as short as their turns.
   */
  #pushRuns(): void {
    const { length } = this.#batch;
    this.#makeRoom(length);
    this.#locate(length);
    for (let from = 0; from < length; ) {
      const to = this.#findRun(from);
      this.#pushLeg(this.#firsts, from, to);
      if (this.#hasSeconds) this.#pushLeg(this.#seconds, from, to);
      from = to;
    }
  }

  #makeRoom(rows: number): void {
    if (rows <= this.#firsts.length) return;
    this.#sources = new Int32Array(rows);
    this.#destinations = new Int32Array(rows);
    this.#firsts = new Int32Array(rows);
    this.#seconds = new Int32Array(rows);
  }

  /** Finds whose the ends of all rows are, and so which nodes they meet. */
  #locate(length: number): void {
    const batch = this.#batch;
    const { family, source0, destination0 } = batch;
    const sources = this.#sources;
    const destinations = this.#destinations;
    const known4 = this.#known4;
    const owners = this.#owners;
    const only = this.#only;
    for (let row = 0; row < length; row++) {
      let first = NOWHERE;
      let second = NOWHERE;
      const isOf4 = family[row] === 4;
      const from = source0[row] ?? 0;
      const to = destination0[row] ?? 0;
      if (from !== to || (!isOf4 && !isToItself6(batch, row))) {
        const source = isOf4 ? known4.find4(from, 0) : this.#knownSource6(row);
        const destination = isOf4 ? known4.find4(to, 0) : this.#knownDestination6(row);
        sources[row] = source;
        destinations[row] = destination;
        if (only !== NOWHERE) {
          first = only;
        } else {
          if (source >= 0) first = owners[source] ?? NOWHERE;
          if (destination >= 0) second = owners[destination] ?? NOWHERE;
          if (second === first) second = NOWHERE;
        }
      }
      this.#firsts[row] = first;
      this.#seconds[row] = second;
    }
  }

  /** Gives the nodes of rows from `from` on their parts and clears the rows' results, until the run ends; the row after its last. */
  #findRun(from: number): number {
    const { verdict, hopCount } = this.#results;
    const { length } = this.#batch;
    this.#run++;
    this.#hasSeconds = false;
    let row = from;
    for (; row < length; row++) {
      if (!this.#joinsRun(row)) break;
      verdict[row] = VERDICT_CODE.accept;
      hopCount[row] = 0;
    }
    return row;
  }

  /** Gives the nodes of a row their parts in the run. False: one of them has the other part, so the run ends before the row. */
  #joinsRun(row: number): boolean {
    const parts = this.#parts;
    const asFirst = this.#run * 2 + PART.first;
    const asSecond = this.#run * 2 + PART.second;
    const first = this.#firsts[row] ?? NOWHERE;
    const second = this.#seconds[row] ?? NOWHERE;
    if (first !== NOWHERE && second !== NOWHERE) {
      if (parts[first] === asSecond || parts[second] === asFirst) return false;
      parts[first] = asFirst;
      parts[second] = asSecond;
      this.#hasSeconds = true;
      return true;
    }
    // A node that sees the row alone has whatever part it has.
    const alone = first === NOWHERE ? second : first;
    if (alone === NOWHERE) return true;
    if (parts[alone] !== asSecond) parts[alone] = asFirst;
    const isFirst = parts[alone] === asFirst;
    this.#firsts[row] = isFirst ? alone : NOWHERE;
    this.#seconds[row] = isFirst ? NOWHERE : alone;
    return true;
  }

  /** Sends the rows of a run that have passed so far through the nodes named, neighbours at one node together. */
  #pushLeg(nodes: Int32Array, from: number, to: number): void {
    const { verdict, hopCount, hops } = this.#results;
    for (let row = from; row < to; ) {
      const node = nodes[row] ?? NOWHERE;
      const end = node === NOWHERE || verdict[row] !== VERDICT_CODE.accept ? row : this.#enter(nodes, row, to);
      if (end === row) {
        row++;
        continue;
      }
      const results = hops[(hopCount[row] ?? 0) - 1]?.results;
      if (results === undefined) throw new RangeError(`no results for row ${row} on node ${node}`);
      this.#nodes[node]?.push(this.#batch, results, row, end, this.#sink);
      for (; row < end; row++) verdict[row] = results.verdict[row] ?? 0;
    }
  }

  /** The number of the source address of a row of IPv6; -1: of no node. */
  #knownSource6(row: number): number {
    const { source0, source1, source2, source3 } = this.#batch;
    return this.#known6.find6(source0[row] ?? 0, source1[row] ?? 0, source2[row] ?? 0, source3[row] ?? 0, 0);
  }

  /** The same of the destination. */
  #knownDestination6(row: number): number {
    const { destination0, destination1, destination2, destination3 } = this.#batch;
    const word0 = destination0[row] ?? 0;
    return this.#known6.find6(word0, destination1[row] ?? 0, destination2[row] ?? 0, destination3[row] ?? 0, 0);
  }

  /**
   * Gives row `from` and its neighbours before `to` at the same node the paths and devices that they have on it, and
   * counts the hop. The row after the last of them: one that meets another node, or that stays on the node, since both of
   * its ends are the node itself. That is the loopback device's traffic, which no solution here has rules for.
   *
   *     pods with interfaces of their own   in = source's        out = destination's
   *     both behind ports of the bridge     in = out = bridge    physin, physout = their ports: bridged
   *     one behind a port                   in or out = bridge   physin = source's port; a physout is never known then
   */
  #enter(nodes: Int32Array, from: number, to: number): number {
    const { verdict, hopCount, hops } = this.#results;
    const batch = this.#batch;
    const { path, inDevice, outDevice, physInDevice, physOutDevice } = batch;
    const node = nodes[from] ?? NOWHERE;
    const count = hopCount[from] ?? 0;
    const dataplane = this.#nodes[node];
    const hop = hops[count];
    if (dataplane === undefined || hop === undefined) throw new RangeError(`hop ${count} on node ${node}`);
    const { routes } = dataplane;
    const { LOCAL } = NodeRoutes;
    const [sources, destinations] = [this.#sources, this.#destinations];
    let row = from;
    for (; row < to; row++) {
      if (nodes[row] !== node || hopCount[row] !== count || verdict[row] !== VERDICT_CODE.accept) break;
      let source = this.#placeOf(sources[row] ?? NOWHERE, node, routes);
      let destination = this.#placeOf(destinations[row] ?? NOWHERE, node, routes);
      if (source === UNKNOWN) source = placeOfSource(batch, row, routes);
      if (destination === UNKNOWN) destination = placeOfDestination(batch, row, routes);
      if (source === LOCAL && destination === LOCAL) break;
      const physIn = routes.port(source);
      path[row] = source === LOCAL ? PATH.output : destination === LOCAL ? PATH.input : PATH.forward;
      inDevice[row] = routes.device(source);
      outDevice[row] = routes.device(destination);
      physInDevice[row] = physIn;
      physOutDevice[row] = physIn === NO_DEVICE ? NO_DEVICE : routes.port(destination);
      hop.node[row] = node;
      hopCount[row] = count + 1;
    }
    return row;
  }

  /** Where an address is to a node, as far as that follows from whose it is. */
  #placeOf(known: number, node: number, routes: NodeRoutes): number {
    if (known < 0 || routes !== this.#routes[node]) return UNKNOWN;
    if (this.#owners[known] === node) return this.#places[known] ?? UNKNOWN;
    return this.#seesOthersElsewhere[node] === true ? NodeRoutes.ELSEWHERE : UNKNOWN;
  }
}

/** Whether source and destination of a row of IPv6 are one address. */
function isToItself6(batch: PacketBatch, row: number): boolean {
  return (
    batch.source0[row] === batch.destination0[row] &&
    batch.source1[row] === batch.destination1[row] &&
    batch.source2[row] === batch.destination2[row] &&
    batch.source3[row] === batch.destination3[row]
  );
}

function placeOfSource(batch: PacketBatch, row: number, routes: NodeRoutes): number {
  const { family, source0, source1, source2, source3 } = batch;
  return routes.place(family[row] ?? 0, source0[row] ?? 0, source1[row] ?? 0, source2[row] ?? 0, source3[row] ?? 0);
}

function placeOfDestination(batch: PacketBatch, row: number, routes: NodeRoutes): number {
  const { family, destination0, destination1, destination2, destination3 } = batch;
  return routes.place(
    family[row] ?? 0,
    destination0[row] ?? 0,
    destination1[row] ?? 0,
    destination2[row] ?? 0,
    destination3[row] ?? 0,
  );
}

function hopAt(dataplane: Dataplane, results: ResultBatch, row: number): Hop {
  const verdict = VERDICTS[results.verdict[row] ?? 0] ?? "unknown";
  const { decision, reason } = dataplane.decision(results.decision[row] ?? DECISION.none);
  return {
    node: dataplane.node,
    verdict,
    reason: verdict === "accept" ? undefined : verdict === "unknown" ? "opaque" : reason,
    ctState: CT_STATES[results.ctState[row] ?? 0] ?? "invalid",
    decidedBy: decision,
    work: workAt(results, row),
  };
}

function workAt(results: ResultBatch, row: number): Work {
  return {
    rules: results.rules[row] ?? 0,
    chains: results.chains[row] ?? 0,
    setLookups: results.setLookups[row] ?? 0,
    mapLookups: results.mapLookups[row] ?? 0,
    trieLookups: results.trieLookups[row] ?? 0,
    conntrackLookups: results.conntrackLookups[row] ?? 0,
  };
}
