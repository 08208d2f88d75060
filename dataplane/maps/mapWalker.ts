/** The way of a packet through the attach points of one node: the source pod's egress, then the destination pod's ingress. */
import { CurrentPacket } from "../currentPacket.ts";
import type { DeviceTable } from "../devices.ts";
import { NO_BATCH, PATH, type PacketBatch, protocolName } from "../packet.ts";
import type { AttachPoint, LookupPlan, MapProgram } from "../program.ts";
import { DECISION, type DecisionMeaning, NO_RESULTS, type ResultBatch } from "../result.ts";
import { hexOf, type TraceSink } from "../trace.ts";
import { CT_STATE_CODE, type CtState, VERDICT_CODE } from "../verdict.ts";
import { FLOW_STATE, type FlowMap, tracksFlowsOf } from "./flowMap.ts";
import { PeerClasses, RememberedLookup } from "./identityMemo.ts";
import { type LoadedMap, loadMap } from "./loadedMap.ts";
import { bindLookups, type Lookup, type LookupListener, type PolicyDirection, TupleLookup } from "./lookup.ts";
import { RememberedTuple } from "./tupleMemo.ts";

/** How look-ups are answered: each by its maps, or also from memory (identityMemo.ts, tupleMemo.ts). */
export type LookupMemory = "none" | "answers";

export interface MapSurroundings {
  readonly devices: DeviceTable;
  readonly flows: FlowMap;
}

/** By `FLOW_STATE`: what it is called in results, which have nf_conntrack's words, and in words for people. */
const CT_STATE_OF: readonly CtState[] = ["new", "established", "established", "related"];
const STATE_CODES = Uint8Array.from(CT_STATE_OF, (state) => CT_STATE_CODE[state]);
const WHY = [
  "no flow of these addresses and ports",
  "its flow was opened from this side; policy is asked again",
  "answers a flow that was let through",
  "an error about a flow that was let through",
] as const;

/**
 * Executes a map program. Programs hang on the pods' devices: a packet that comes in by one meets the pod's egress, one
 * that leaves by one the pod's ingress; both keep their own flows.
 */
export class MapWalker {
  readonly #node: string;
  readonly #flows: FlowMap;
  /** By number of the device. */
  readonly #egress: (Lookup | undefined)[] = [];
  readonly #ingress: (Lookup | undefined)[] = [];
  readonly #maps: readonly LoadedMap[];
  readonly #packet = new CurrentPacket();
  #batch: PacketBatch = NO_BATCH;
  #results: ResultBatch = NO_RESULTS;
  /** Results of the row under way. */
  #state: number = CT_STATE_CODE.untracked;
  #decision: number = DECISION.none;
  #mapLookups = 0;
  #trieLookups = 0;
  #flowLookups = 0;
  #sink: TraceSink | undefined;
  #listener: LookupListener | undefined;

  /** Throws when a map does not hold its entries, or a plan asks one that is not there. */
  constructor(program: MapProgram, { devices, flows }: MapSurroundings, memory: LookupMemory = "none") {
    this.#node = program.node;
    this.#flows = flows;
    this.#maps = program.maps.map(loadMap);
    let decisions = 0;
    for (const map of this.#maps) {
      map.firstDecision = decisions;
      decisions += map.spec.entries.length + 1;
    }
    const maps = new Map(this.#maps.map((map) => [map.spec.name, map]));
    const bound = bindLookups(program.attachPoints, maps);
    const lookups = memory === "none" ? bound : withMemory(bound, maps);
    const deviceOf = new Map(program.attachment.pods.map((pod) => [pod.endpoint, devices.number(pod.interface)]));
    for (const [point, lookup] of lookups) {
      const device = deviceOf.get(point.endpoint);
      if (device === undefined) continue;
      const points = point.direction === "egress" ? this.#egress : this.#ingress;
      while (points.length <= device) points.push(undefined); // no holes
      points[device] = lookup;
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
    const batch = this.#batch;
    const results = this.#results;
    const path = batch.path[row];
    this.#packet.loadHeaders(batch, row);
    this.#state = CT_STATE_CODE.untracked;
    this.#decision = DECISION.none;
    this.#mapLookups = this.#trieLookups = this.#flowLookups = 0;
    const egress = path === PATH.output ? undefined : this.#egress[batch.inDevice[row] ?? 0];
    const ingress = path === PATH.input ? undefined : this.#ingress[batch.outDevice[row] ?? 0];
    const passes =
      (egress === undefined || this.#passes(egress, "egress")) &&
      (ingress === undefined || this.#passes(ingress, "ingress"));
    results.verdict[row] = passes ? VERDICT_CODE.accept : VERDICT_CODE.drop;
    results.ctState[row] = this.#state;
    results.decision[row] = this.#decision;
    results.rules[row] = 0;
    results.chains[row] = 0;
    results.setLookups[row] = 0;
    results.mapLookups[row] = this.#mapLookups;
    results.trieLookups[row] = this.#trieLookups;
    results.conntrackLookups[row] = this.#flowLookups;
  }

  /** What a decision number of the results means. */
  decision(index: number): DecisionMeaning {
    if (index === DECISION.none) return { decision: undefined, reason: undefined };
    if (index === DECISION.untrackable) return { decision: undefined, reason: "invalid" };
    for (const map of this.#maps) {
      const offset = index - map.firstDecision;
      if (offset > map.spec.entries.length) continue;
      const entry = map.spec.entries[offset];
      const key = entry === undefined ? "" : hexOf(entry.key);
      const origin = entry === undefined ? map.spec.origin : entry.origin;
      return { decision: { kind: "map", node: this.#node, map: map.spec.name, key, origin }, reason: "policy" };
    }
    throw new RangeError(`decision ${index} is of no map`);
  }

  /** Asks one attach point; state and decision are those of the last one asked. */
  #passes(lookup: Lookup, direction: PolicyDirection): boolean {
    const packet = this.#packet;
    if (!tracksFlowsOf(packet.protocol)) {
      this.#state = CT_STATE_CODE.invalid;
      this.#decision = DECISION.untrackable;
      const why = `flows of ${protocolName(packet.protocol)} cannot be tracked, and are dropped`;
      this.#sink?.step({ kind: "conntrack", node: this.#node, state: "invalid", why });
      return false;
    }
    const state = this.#flows.lookup(packet, direction);
    this.#flowLookups += this.#flows.probes;
    this.#state = STATE_CODES[state] ?? 0;
    if (this.#sink !== undefined) {
      const told = { state: CT_STATE_OF[state] ?? "new", why: WHY[state] };
      this.#sink.step({ kind: "conntrack", node: this.#node, ...told });
    }
    if (state === FLOW_STATE.reply || state === FLOW_STATE.related) {
      this.#decision = DECISION.none;
      return true;
    }
    lookup.decide(packet, direction, this.#listener);
    this.#mapLookups += lookup.mapLookups;
    this.#trieLookups += lookup.trieLookups;
    const { decidingMap, decidingEntry } = lookup;
    this.#decision = decidingMap.firstDecision + (decidingEntry < 0 ? decidingMap.spec.entries.length : decidingEntry);
    if (lookup.accepts && state === FLOW_STATE.new) this.#flows.create(packet, direction);
    return lookup.accepts;
  }
}

/** The look-ups with a memory each. */
function withMemory(
  lookups: ReadonlyMap<AttachPoint, Lookup>,
  maps: ReadonlyMap<string, LoadedMap>,
): ReadonlyMap<AttachPoint, Lookup> {
  const peers = new Map<string, PeerClasses>();
  const remembered = new Map<Lookup, Lookup>();
  const result = new Map<AttachPoint, Lookup>();
  for (const [point, lookup] of lookups) {
    const { plan } = point;
    const memo = remembered.get(lookup) ?? memoryOf(lookup, plan, { peers, maps });
    remembered.set(lookup, memo);
    result.set(point, memo);
  }
  return result;
}

interface Known {
  /** By name of the ipcache. */
  readonly peers: Map<string, PeerClasses>;
  readonly maps: ReadonlyMap<string, LoadedMap>;
}

function memoryOf(lookup: Lookup, plan: LookupPlan, { peers, maps }: Known): Lookup {
  if (lookup instanceof TupleLookup) return new RememberedTuple(lookup);
  const ipcache = plan.kind === "identity" ? maps.get(plan.ipcache) : undefined;
  if (plan.kind !== "identity" || ipcache === undefined) return lookup;
  const classes = peers.get(plan.ipcache) ?? new PeerClasses(ipcache);
  peers.set(plan.ipcache, classes);
  return new RememberedLookup(lookup, classes);
}
