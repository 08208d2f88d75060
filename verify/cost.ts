/** What a strategy's programs of a cluster cost: sizes, and what a packet meets in them. */

import type { Endpoint } from "../compiler/model.ts";
import { renderIpsetSave } from "../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../compiler/render/iptablesSave.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { IpAddress } from "../dataplane/address.ts";
import { makePacket, type Packet, PROTOCOL, TCP_FLAG } from "../dataplane/packet.ts";
import type { Program } from "../dataplane/program.ts";
import type { Work } from "../dataplane/verdict.ts";
import { answerTo } from "./answer.ts";
import { compileNodes, type Lane } from "./lane.ts";

/** Smallest, median and largest of what was counted. */
export type Spread = readonly [min: number, median: number, max: number];

export interface ProgramSize {
  readonly rules: number;
  readonly chains: number;
  readonly sets: number;
  readonly setEntries: number;
  readonly mapEntries: number;
  /** Of the save texts, or of keys and values of maps. */
  readonly bytes: number;
}

/** What packets met, by kind. */
export interface PacketCost {
  readonly rulesPerNewPacket: Spread;
  readonly setLookupsPerNewPacket: Spread;
  readonly mapLookupsPerNewPacket: Spread;
  readonly trieLookupsPerNewPacket: Spread;
  /** Of the second packet in the original direction of a TCP connection that was let through. */
  readonly rulesPerEstablishedPacket: Spread;
  readonly setLookupsPerEstablishedPacket: Spread;
  readonly mapLookupsPerEstablishedPacket: Spread;
  readonly trieLookupsPerEstablishedPacket: Spread;
}

export interface Cost extends ProgramSize, PacketCost {
  /**
   * Lines of the saves, or entries of maps, that differ when the pod that most peers mean has another address. Undefined
   * of an imported node, whose rules nobody here compiles.
   */
  readonly changedByOneAddress?: number;
}

/** Sums over all nodes. */
export function sizeOf(programs: readonly Program[]): ProgramSize {
  const sizes = programs.map(programSize);
  const sum = (part: keyof ProgramSize) => sizes.reduce((total, size) => total + size[part], 0);
  return {
    rules: sum("rules"),
    chains: sum("chains"),
    sets: sum("sets"),
    setEntries: sum("setEntries"),
    mapEntries: sum("mapEntries"),
    bytes: sum("bytes"),
  };
}

function programSize(program: Program): ProgramSize {
  if (program.kind === "maps") {
    const { maps } = program;
    const entries = maps.flatMap((map) => map.entries);
    const bytes = entries.reduce((total, { key, value }) => total + key.length + value.length, 0);
    return { rules: 0, chains: 0, sets: 0, setEntries: 0, mapEntries: entries.length, bytes };
  }
  const chains = program.families.flatMap(({ tables }) => tables).flatMap((table) => table.chains);
  return {
    rules: chains.reduce((total, { rules }) => total + rules.length, 0),
    chains: chains.length,
    sets: program.sets.length,
    setEntries: program.sets.reduce((total, { members }) => total + members.length, 0),
    mapEntries: 0,
    bytes: programLines(program).reduce((total, line) => total + line.length + 1, 0),
  };
}

/** A program as lines that are equal where it is. */
function programLines(program: Program): readonly string[] {
  if (program.kind === "maps") {
    return program.maps.flatMap(({ name, entries }) =>
      entries.map(({ key, value }) => `${name} ${key.join(",")} ${value.join(",")}`),
    );
  }
  const texts = program.families.map(({ family }) => renderIptablesSave(program, family));
  return [...texts, renderIpsetSave(program)].flatMap((text) => text.split("\n"));
}

/** Counts of one kind of packet, one a packet. */
class WorkCounts {
  readonly rules: number[] = [];
  readonly setLookups: number[] = [];
  readonly mapLookups: number[] = [];
  readonly trieLookups: number[] = [];

  add(work: Work): void {
    this.rules.push(work.rules);
    this.setLookups.push(work.setLookups);
    this.mapLookups.push(work.mapLookups);
    this.trieLookups.push(work.trieLookups);
  }
}

/** Collects the work of packets as they are asked about. */
export class WorkSample {
  readonly #new = new WorkCounts();
  readonly #established = new WorkCounts();

  add(work: Work): void {
    this.#new.add(work);
  }

  /** Sends the rest of a handshake after a SYN that passed, and counts the packet that follows it. */
  addEstablished(lane: Lane, syn: Packet): void {
    lane.push(answerTo(syn));
    const ack = makePacket({ ...syn, tcpFlags: TCP_FLAG.A, sequence: syn.sequence + 1, acknowledgment: 1 });
    const { by } = lane.push(ack);
    if (by.kind === "fabric") this.#established.add(by.result.work);
  }

  get spreads(): PacketCost {
    return {
      rulesPerNewPacket: spreadOf(this.#new.rules),
      setLookupsPerNewPacket: spreadOf(this.#new.setLookups),
      mapLookupsPerNewPacket: spreadOf(this.#new.mapLookups),
      trieLookupsPerNewPacket: spreadOf(this.#new.trieLookups),
      rulesPerEstablishedPacket: spreadOf(this.#established.rules),
      setLookupsPerEstablishedPacket: spreadOf(this.#established.setLookups),
      mapLookupsPerEstablishedPacket: spreadOf(this.#established.mapLookups),
      trieLookupsPerEstablishedPacket: spreadOf(this.#established.trieLookups),
    };
  }
}

/** Whether a packet can open a connection whose next packet is asked about. */
export function opensConnection({ protocol }: Packet): boolean {
  return protocol === PROTOCOL.tcp;
}

function spreadOf(counts: readonly number[]): Spread {
  const sorted = Int32Array.from(counts).sort();
  const at = (index: number) => sorted[index] ?? 0;
  return [at(0), at(Math.floor((sorted.length - 1) / 2)), at(sorted.length - 1)];
}

/** Gives the pod that most peers mean another address and counts the lines or entries that are not what they were. */
export function changedByOneAddress(cluster: ResolvedCluster, lane: Lane, resolve: Resolve): number {
  const pod = mostMeant(cluster);
  const [address] = pod?.addresses ?? [];
  if (pod === undefined || address === undefined || lane.strategy === undefined) return 0;
  const moved = { ...pod, addresses: [unusedLike(address, cluster), ...pod.addresses.slice(1)] };
  const endpoints = cluster.model.endpoints.map((endpoint) => (endpoint === pod ? moved : endpoint));
  const after = compileNodes(resolve({ ...cluster.model, endpoints }), lane.strategy, {});
  const counts = new Map<string, number>();
  for (const [programs, sign] of [
    [lane.programs, 1],
    [after, -1],
  ] as const) {
    for (const program of programs) {
      for (const line of programLines(program)) {
        const key = `${program.node} ${line}`;
        counts.set(key, (counts.get(key) ?? 0) + sign);
      }
    }
  }
  return [...counts.values()].filter((count) => count !== 0).length;
}

/** The pod in most peers of policies; of several the first. */
function mostMeant({ pods, policies }: ResolvedCluster): Endpoint | undefined {
  const times = new Map(pods.map((pod) => [pod, 0]));
  for (const { peers } of policies.flatMap(({ ingress, egress }) => [...ingress, ...egress])) {
    for (const peer of peers) {
      if (peer.kind === "pods") for (const pod of peer.members) times.set(pod, (times.get(pod) ?? 0) + 1);
    }
  }
  const most = Math.max(0, ...new Set(times.values()));
  return pods.find((pod) => times.get(pod) === most);
}

/** `resolvePolicies`, handed in so that a caller may resolve in its own way. */
export type Resolve = (model: ResolvedCluster["model"]) => ResolvedCluster;

/** The next address after all pods' that no pod has. */
function unusedLike({ family, words }: IpAddress, { pods }: ResolvedCluster): IpAddress {
  const taken = new Set(pods.flatMap(({ addresses }) => addresses.map((one) => one.words.join())));
  let last = words.at(-1) ?? 0;
  do last = (last + 1) | 0;
  while (taken.has([...words.slice(0, -1), last].join()));
  return { family, words: [...words.slice(0, -1), last] };
}
