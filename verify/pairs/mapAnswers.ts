/**
 * What the attach points of a map program say to openings: instead of asking their maps once for each packet, every entry is
 * read once. The meaning is that of maps/lookup.ts, which it is tested against.
 */

import { rememberedBy } from "../../compiler/again.ts";
import { DeviceTable, NO_DEVICE } from "../../dataplane/devices.ts";
import {
  BLOCK_PORT_AT,
  decodeBlockKey,
  decodeIpcacheIdentity,
  decodeIpcacheKey,
  decodePolicyKey,
  decodePolicyValue,
  decodeTupleKey,
  isTupleAccept,
  keyWordAt,
  policyPortPrefix,
  TUPLE_PORT_AT,
  tuplePortWord,
} from "../../dataplane/maps/layout.ts";
import { ANYBODY, HIGHEST_PRECEDENCE, portOf, WORLD } from "../../dataplane/maps/lookup.ts";
import { type PortList, portOfCode, protocolOfCode, tupleEntriesOf } from "../../dataplane/maps/tupleEntries.ts";
import { hasPorts } from "../../dataplane/packet.ts";
import type { AttachPoint, MapEntry, MapProgram, MapSpec } from "../../dataplane/program.ts";
import { NodeRoutes } from "../../dataplane/routes.ts";
import { AtomSet } from "../atomSet.ts";
import type { PairQuestion } from "./question.ts";

/** Openings from or to some peers, to some ports. */
export interface PeersAndPorts {
  readonly peers: AtomSet;
  readonly ports: AtomSet;
}

/** By peer: the ports to which openings pass. */
type Passing = readonly AtomSet[];

export class MapAnswers {
  readonly #question: PairQuestion;
  readonly #specs: ReadonlyMap<string, MapSpec>;
  /** By end: the device that leads to it. By device: what hangs on it. */
  readonly #devices: readonly number[];
  readonly #points = { egress: new Map<number, AttachPoint>(), ingress: new Map<number, AttachPoint>() };
  /** By entries of the ipcache, by peer. */
  readonly #identities = new WeakMap<readonly MapEntry[], readonly number[]>();
  /** By what is in the first map, and in the second. */
  readonly #known = {
    ingress: new WeakMap<object, Map<object, readonly PeersAndPorts[]>>(),
    egress: new WeakMap<object, Map<object, readonly PeersAndPorts[]>>(),
  };
  readonly #listed = new WeakMap<PortList, AtomSet>();

  /** By word of family, protocol and port in keys: the ports that it is for. */
  readonly #scopes = new Map<number, AtomSet>();

  constructor(program: MapProgram, question: PairQuestion) {
    this.#question = question;
    this.#specs = new Map(program.maps.map((map) => [map.name, map]));
    const { family, openings, ends } = question;
    for (const [port, { protocol, destinationPort }] of openings.entries()) {
      // For the port itself, for every port of the protocol, and for every protocol.
      for (const word of [
        tuplePortWord(family, protocol, destinationPort),
        tuplePortWord(family, protocol, 0),
        tuplePortWord(family, 0, 0),
      ]) {
        const scope = this.#scopes.get(word) ?? new AtomSet(openings.length);
        this.#scopes.set(word, scope);
        scope.add(port);
      }
    }
    const devices = new DeviceTable();
    const routes = new NodeRoutes(program.attachment, devices);
    this.#devices = ends.map(({ words: [word0 = 0, word1 = 0, word2 = 0, word3 = 0] }) =>
      routes.device(routes.place(family, word0, word1, word2, word3)),
    );
    const interfaces = new Map(program.attachment.pods.map((pod) => [pod.endpoint, pod.interface]));
    for (const point of program.attachPoints) {
      const name = interfaces.get(point.endpoint);
      if (name !== undefined) this.#points[point.direction].set(devices.number(name), point);
    }
  }

  /** What the attach point of an end refuses; nothing where there is none. */
  refusals(end: number, direction: AttachPoint["direction"]): readonly PeersAndPorts[] {
    const point = this.#points[direction].get(this.#devices[end] ?? NO_DEVICE);
    return point === undefined ? [] : this.#refusals(point);
  }

  #refusals({ plan, direction }: AttachPoint): readonly PeersAndPorts[] {
    // Endpoints that the same policies select have the same entries.
    const [first, second] =
      plan.kind === "tuple"
        ? [this.#specOf(plan.exact), this.#specOf(plan.blocks)]
        : [this.#specOf(plan.ipcache), this.#specOf(plan.policy)];
    const known = rememberedBy(
      this.#known[direction],
      contentOf(first),
      () => new Map<object, readonly PeersAndPorts[]>(),
    );
    const content = contentOf(second);
    const refusals =
      known.get(content) ??
      this.#refused(
        plan.kind === "tuple" ? this.#byTuples(first, second) : this.#byIdentities(first, second, direction),
      );
    known.set(content, refusals);
    return refusals;
  }

  /** Peers with the same ports go together. */
  #refused(passing: Passing): readonly PeersAndPorts[] {
    const groups = new Map<string, PeersAndPorts>();
    for (let peer = 0; peer < passing.length; peer++) {
      const passes = passing[peer] as AtomSet;
      let group = groups.get(passes.key);
      if (group === undefined) {
        group = { peers: new AtomSet(passing.length), ports: passes.not() };
        groups.set(passes.key, group);
      }
      group.peers.add(peer);
    }
    return [...groups.values()].filter(({ ports }) => !ports.isEmpty);
  }

  #specOf(map: string): MapSpec {
    const spec = this.#specs.get(map);
    if (spec === undefined) throw new Error(`a look-up plan asks map ${map}, which the program lacks`);
    return spec;
  }

  /** Who is named by an accepting entry passes; holes in blocks accept nothing, and hide the wider entries around them. */
  #byTuples(exact: MapSpec, blocks: MapSpec): Passing {
    const { ends, ports } = this.#question;
    const passing = ends.map(() => new AtomSet(ports.length));
    const tuples = tupleEntriesOf(exact);
    if (tuples === undefined) this.#addEntries(exact, passing);
    else {
      for (const { peer, ports: list } of tuples.parts) {
        const end = peer.family === this.#question.family ? this.#question.number(peer) : undefined;
        if (end !== undefined) passing[end]?.addAll(rememberedBy(this.#listed, list, () => this.#portsOf(list)));
      }
    }
    const byScope = new Map<AtomSet, { length: Int16Array; accepts: Uint8Array }>();
    for (const { key, value } of blocks.entries) {
      const scope = this.#scopes.get(keyWordAt(key, BLOCK_PORT_AT));
      if (scope === undefined) continue;
      const { peer } = decodeBlockKey(key);
      const longest = byScope.get(scope) ?? {
        length: new Int16Array(ends.length).fill(-1),
        accepts: new Uint8Array(ends.length),
      };
      byScope.set(scope, longest);
      for (const end of this.#question.within(peer)) {
        if ((longest.length[end] ?? 0) > peer.prefixLength) continue;
        longest.length[end] = peer.prefixLength;
        longest.accepts[end] = Number(isTupleAccept(value));
      }
    }
    for (const [scope, { accepts }] of byScope) {
      for (const [end, accept] of accepts.entries()) if (accept === 1) passing[end]?.addAll(scope);
    }
    return passing;
  }

  #addEntries({ entries }: MapSpec, passing: Passing): void {
    for (const { key, value } of entries) {
      const scope = this.#scopes.get(keyWordAt(key, TUPLE_PORT_AT));
      if (scope === undefined || !isTupleAccept(value)) continue;
      const peer = this.#question.number(decodeTupleKey(key).peer);
      if (peer !== undefined) passing[peer]?.addAll(scope);
    }
  }

  /** The ports that are asked about, of a list. */
  #portsOf({ codes }: PortList): AtomSet {
    const named = new AtomSet(this.#question.ports.length);
    for (const code of codes) {
      const scope = this.#scopes.get(tuplePortWord(this.#question.family, protocolOfCode(code), portOfCode(code)));
      if (scope !== undefined) named.addAll(scope);
    }
    return named;
  }

  #byIdentities(ipcache: MapSpec, policy: MapSpec, direction: AttachPoint["direction"]): Passing {
    const { openings } = this.#question;
    const answers = this.#answersOf(policy, direction);
    const anybody = answers.get(ANYBODY) ?? [];
    const byIdentity = new Map<number, AtomSet>();
    return this.#identitiesOf(ipcache).map((identity) => {
      const known = byIdentity.get(identity);
      if (known !== undefined) return known;
      const own = answers.get(identity) ?? [];
      const passing = AtomSet.of(openings.map((_, port) => accepts(own[port], anybody[port])));
      byIdentity.set(identity, passing);
      return passing;
    });
  }

  /** By peer. */
  #identitiesOf({ entries }: MapSpec): readonly number[] {
    const known = this.#identities.get(entries);
    if (known !== undefined) return known;
    const { ends, family } = this.#question;
    const identities = ends.map(() => WORLD);
    const lengths = new Int16Array(ends.length).fill(-1);
    for (const { key, value } of entries) {
      const cidr = decodeIpcacheKey(key);
      if (cidr.family !== family) continue;
      const identity = decodeIpcacheIdentity(value);
      for (const end of this.#question.within(cidr)) {
        if ((lengths[end] ?? 0) > cidr.prefixLength) continue;
        lengths[end] = cidr.prefixLength;
        identities[end] = identity;
      }
    }
    this.#identities.set(entries, identities);
    return identities;
  }

  /** By identity, by port: the entry with the longest prefix that has it. */
  #answersOf({ entries }: MapSpec, direction: AttachPoint["direction"]): ReadonlyMap<number, readonly PolicyAnswer[]> {
    const { openings } = this.#question;
    const everyPort = [...openings.keys()];
    const answers = new Map<number, PolicyAnswer[]>();
    for (const { key, value } of entries) {
      const entry = decodePolicyKey(key);
      if (entry.direction !== direction) continue;
      const { protocol, port, portBits } = entry;
      const named = portBits === 16 && hasPorts(protocol) ? this.#question.named(protocol, port) : everyPort;
      if (named === undefined) continue;
      const own = answers.get(entry.identity) ?? [];
      answers.set(entry.identity, own);
      const length = policyPortPrefix(entry);
      let answer: PolicyAnswer | undefined;
      for (const index of named) {
        const opening = openings[index];
        if (opening === undefined || (protocol !== 0 && protocol !== opening.protocol)) continue;
        if ((portOf(opening) ^ port) >>> (16 - portBits) !== 0 || (own[index]?.length ?? -1) > length) continue;
        answer ??= { length, ...decodePolicyValue(value) };
        own[index] = answer;
      }
    }
    return answers;
  }
}

/** The same object for maps with the same entries. */
function contentOf(map: MapSpec): object {
  return tupleEntriesOf(map) ?? map.entries;
}

interface PolicyAnswer {
  readonly length: number;
  readonly deny: boolean;
  readonly precedence: number;
  readonly portPrefix: number;
}

/** Whether the entry that decides, of one for the peer's identity and one for any, lets pass (bpf/lib/policy.h). */
function accepts(own: PolicyAnswer | undefined, anybody: PolicyAnswer | undefined): boolean {
  const decides = own === undefined || (anybody !== undefined && beats(anybody, own)) ? anybody : own;
  return decides !== undefined && !decides.deny;
}

function beats(anybody: PolicyAnswer, own: PolicyAnswer): boolean {
  if (own.precedence >= HIGHEST_PRECEDENCE) return false;
  if (anybody.precedence !== own.precedence) return anybody.precedence > own.precedence;
  return anybody.portPrefix > own.portPrefix;
}
