/** The way of a packet through the attach points of one node: the source pod's egress, then the destination pod's ingress. */
import { CurrentPacket } from "../currentPacket.ts";
import type { DeviceTable } from "../devices.ts";
import { createBatch, PATH, type PacketBatch, protocolName } from "../packet.ts";
import type { AttachPoint, MapProgram } from "../program.ts";
import { createResults, DECISION, type DecisionMeaning, type ResultBatch } from "../result.ts";
import { hexOf, type TraceSink } from "../trace.ts";
import { CT_STATE_CODE, type CtState, VERDICT_CODE } from "../verdict.ts";
import { type FlowMap, type FlowState, tracksFlowsOf } from "./flowMap.ts";
import { PeerClasses, RememberedLookup } from "./identityMemo.ts";
import { type LoadedMap, loadMap } from "./loadedMap.ts";
import { bindLookups, type Lookup, type LookupListener, type PolicyDirection } from "./lookup.ts";

/** How look-ups are answered: each by its maps, or also from memory (identityMemo.ts). */
export type LookupMemory = "none" | "answers";

export interface MapSurroundings {
  readonly devices: DeviceTable;
  readonly flows: FlowMap;
}

/** What a flow state is called in results, which have nf_conntrack's words. */
const CT_STATE_OF: Readonly<Record<FlowState, CtState>> = {
  new: "new",
  established: "established",
  reply: "established",
  related: "related",
};

const STATE_CODE: Readonly<Record<FlowState, number>> = {
  new: CT_STATE_CODE.new,
  established: CT_STATE_CODE.established,
  reply: CT_STATE_CODE.established,
  related: CT_STATE_CODE.related,
};

const WHY: Readonly<Record<FlowState, string>> = {
  new: "no flow of these addresses and ports",
  established: "its flow was opened from this side; policy is asked again",
  reply: "answers a flow that was let through",
  related: "an error about a flow that was let through",
};

/**
 * Executes a map program. Programs hang on the pods' devices: a packet that comes in by one meets the pod's egress, one
 * that leaves by one the pod's ingress; both keep their own flows.
 */
export class MapWalker {
  readonly #node: string;
  readonly #flows: FlowMap;
  readonly #egress = new Map<number, Lookup>();
  readonly #ingress = new Map<number, Lookup>();
  /** First decision number of each map: one per entry, and one more for "no entry". */
  readonly #firstDecision = new Map<LoadedMap, number>();
  readonly #maps: readonly LoadedMap[];
  readonly #packet = new CurrentPacket();
  #batch: PacketBatch = createBatch(0);
  #results: ResultBatch = createResults(0);
  #sink: TraceSink | undefined;
  #listener: LookupListener | undefined;

  /** Throws when a map does not hold its entries, or a plan asks one that is not there. */
  constructor(program: MapProgram, { devices, flows }: MapSurroundings, memory: LookupMemory = "none") {
    this.#node = program.node;
    this.#flows = flows;
    this.#maps = program.maps.map(loadMap);
    let decisions = 0;
    for (const map of this.#maps) {
      this.#firstDecision.set(map, decisions);
      decisions += map.spec.entries.length + 1;
    }
    const maps = new Map(this.#maps.map((map) => [map.spec.name, map]));
    const bound = bindLookups(program.attachPoints, maps);
    const lookups = memory === "none" ? bound : withMemory(bound, maps);
    const deviceOf = new Map(program.attachment.pods.map((pod) => [pod.endpoint, devices.number(pod.interface)]));
    for (const [point, lookup] of lookups) {
      const device = deviceOf.get(point.endpoint);
      if (device !== undefined) this.#pointsOf(point.direction).set(device, lookup);
    }
  }

  /** Names the columns to read and write until the next call, and who listens. */
  attach(batch: PacketBatch, results: ResultBatch, sink: TraceSink | undefined): void {
    this.#batch = batch;
    this.#results = results;
    this.#sink = sink;
    this.#listener =
      sink === undefined
        ? undefined
        : ({ map, key, entry, meaning }) =>
            sink.step({
              kind: "lookup",
              node: this.#node,
              map: map.spec.name,
              key,
              value: entry?.value,
              meaning,
              origin: entry?.origin,
            });
  }

  /** Decides rows `from` (inclusive) to `to` (exclusive) of the attached batch. */
  runRows(from: number, to: number): void {
    for (let row = from; row < to; row++) this.run(row);
  }

  /** Decides one row of the attached batch and writes its results. */
  run(row: number): void {
    const results = this.#results;
    const path = this.#batch.path[row];
    this.#packet.load(this.#batch, row);
    results.verdict[row] = VERDICT_CODE.accept;
    results.ctState[row] = CT_STATE_CODE.untracked;
    results.decision[row] = DECISION.none;
    results.rules[row] = 0;
    results.chains[row] = 0;
    results.setLookups[row] = 0;
    results.mapLookups[row] = 0;
    results.trieLookups[row] = 0;
    results.conntrackLookups[row] = 0;
    const egress = path === PATH.output ? undefined : this.#egress.get(this.#batch.inDevice[row] ?? 0);
    if (egress !== undefined && !this.#passes(row, egress, "egress")) return;
    const ingress = path === PATH.input ? undefined : this.#ingress.get(this.#batch.outDevice[row] ?? 0);
    if (ingress !== undefined) this.#passes(row, ingress, "ingress");
  }

  /** What a decision number of the results means. */
  decision(index: number): DecisionMeaning {
    if (index === DECISION.none) return { decision: undefined, reason: undefined };
    if (index === DECISION.untrackable) return { decision: undefined, reason: "invalid" };
    for (const map of this.#maps) {
      const offset = index - (this.#firstDecision.get(map) ?? 0);
      if (offset > map.spec.entries.length) continue;
      const entry = map.spec.entries[offset];
      const key = entry === undefined ? "" : hexOf(entry.key);
      const origin = entry === undefined ? map.spec.origin : entry.origin;
      return { decision: { kind: "map", node: this.#node, map: map.spec.name, key, origin }, reason: "policy" };
    }
    throw new RangeError(`decision ${index} is of no map`);
  }

  #pointsOf(direction: PolicyDirection): Map<number, Lookup> {
    return direction === "egress" ? this.#egress : this.#ingress;
  }

  /** Asks one attach point; the results are those of the last one asked. */
  #passes(row: number, lookup: Lookup, direction: PolicyDirection): boolean {
    const packet = this.#packet;
    const results = this.#results;
    if (!tracksFlowsOf(packet.protocol)) {
      results.verdict[row] = VERDICT_CODE.drop;
      results.ctState[row] = CT_STATE_CODE.invalid;
      results.decision[row] = DECISION.untrackable;
      const why = `flows of ${protocolName(packet.protocol)} cannot be tracked, and are dropped`;
      this.#sink?.step({ kind: "conntrack", node: this.#node, state: "invalid", why });
      return false;
    }
    const state = this.#flows.lookup(packet, direction);
    results.conntrackLookups[row] = (results.conntrackLookups[row] ?? 0) + this.#flows.probes;
    results.ctState[row] = STATE_CODE[state];
    this.#sink?.step({ kind: "conntrack", node: this.#node, state: CT_STATE_OF[state], why: WHY[state] });
    if (state === "reply" || state === "related") {
      results.decision[row] = DECISION.none;
      return true;
    }
    lookup.decide(packet, direction, this.#listener);
    results.mapLookups[row] = (results.mapLookups[row] ?? 0) + lookup.mapLookups;
    results.trieLookups[row] = (results.trieLookups[row] ?? 0) + lookup.trieLookups;
    results.decision[row] = this.#decisionOf(lookup);
    if (!lookup.accepts) {
      results.verdict[row] = VERDICT_CODE.drop;
      return false;
    }
    if (state === "new") this.#flows.create(packet, direction);
    return true;
  }

  #decisionOf({ decidingMap, decidingEntry }: Lookup): number {
    const first = this.#firstDecision.get(decidingMap) ?? 0;
    return first + (decidingEntry < 0 ? decidingMap.spec.entries.length : decidingEntry);
  }
}

/** Look-ups of the identity plan with a memory each; those of the other plan are few probes by themselves. */
function withMemory(
  lookups: ReadonlyMap<AttachPoint, Lookup>,
  maps: ReadonlyMap<string, LoadedMap>,
): ReadonlyMap<AttachPoint, Lookup> {
  const peers = new Map<string, PeerClasses>();
  const remembered = new Map<Lookup, Lookup>();
  const result = new Map<AttachPoint, Lookup>();
  for (const [point, lookup] of lookups) {
    const { plan } = point;
    const ipcache = plan.kind === "identity" ? maps.get(plan.ipcache) : undefined;
    if (plan.kind !== "identity" || ipcache === undefined) {
      result.set(point, lookup);
      continue;
    }
    const classes = peers.get(plan.ipcache) ?? new PeerClasses(ipcache);
    peers.set(plan.ipcache, classes);
    const memo = remembered.get(lookup) ?? new RememberedLookup(lookup, classes);
    remembered.set(lookup, memo);
    result.set(point, memo);
  }
  return result;
}
