/**
 * What packets meet between two states of a node that they would meet neither before nor after.
 *
 *   leak      refused before and after, accepted in between
 *   outage    accepted before and after, refused in between
 *   open      refused after, accepted while the pod is there and its rules are not
 *
 * Every class of first packets that has an end on the node (space.ts) is followed from moment to moment; only those
 * that a moment can concern are asked anew (affected.ts).
 */
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { formatAddress } from "../../dataplane/address.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Program } from "../../dataplane/program.ts";
import type { PacketResult } from "../../dataplane/result.ts";
import type { Verdict } from "../../dataplane/verdict.ts";
import { type Box, joinedBoxes } from "../boxes.ts";
import { textsOf } from "../boxTexts.ts";
import { type AddressAtom, isOnTheWay, type PacketSpace, packetOf, packetSpaces, type ServiceAtom } from "../space.ts";
import { type Area, ChangedAreas } from "./affected.ts";
import type { Moment } from "./moments.ts";
import { NodeVerdicts } from "./verdicts.ts";

export type TransientKind = "leak" | "outage" | "open";

/** A place in a step: operations done, and parts of the one at hand. */
export interface Place {
  readonly operation: number;
  readonly part: number;
}

export interface Transient {
  readonly kind: TransientKind;
  /** One packet of the class. */
  readonly packet: Packet;
  readonly source: AddressAtom;
  readonly destination: AddressAtom;
  readonly service: ServiceAtom;
  /** From which operation on, and which one ends it. Operation 0 is the pods' own coming. */
  readonly from: Place;
  readonly to: Place;
  readonly usual: Verdict;
  readonly between: Verdict;
}

export interface Transients {
  readonly found: readonly Transient[];
  /** Classes whose verdict is another after the step. */
  readonly turned: number;
  /** Classes that some moment concerns, and how many of them were followed. */
  readonly concerned: number;
  readonly followed: number;
  /** Those that were not, as boxes in words. */
  readonly left: readonly string[];
  readonly spaces: readonly PacketSpace[];
}

export interface TransientOptions {
  readonly before: Program;
  readonly moments: readonly Moment[];
  readonly clusters: { readonly before: ResolvedCluster; readonly after: ResolvedCluster };
  /** Addresses that pods got in this step, and how many operations were done by then. */
  readonly arrivals: ReadonlyMap<string, number>;
  readonly limit: number;
}

export function transientsOf({ before, moments, clusters, arrivals, limit }: TransientOptions): Transients {
  // A pod that is gone sends nothing; its packets are followed as if it still did, to the last operation.
  const changes = moments.filter(({ flush, settled }) => flush === undefined && settled === undefined);
  const last = changes.at(-1)?.program ?? before;
  const spaces = packetSpaces(merged(clusters), [before, ...(last === before ? [] : [last])]);
  const followed =
    changes.length === 0 ? [] : spaces.map((space) => followSpace({ space, before, changes, arrivals, limit }));
  const sum = (of: (one: Followed) => number) => followed.reduce((total, one) => total + of(one), 0);
  return {
    found: followed.flatMap(({ found }) => found),
    turned: sum(({ turned }) => turned),
    concerned: sum(({ concerned }) => concerned),
    followed: sum((one) => one.followed),
    left: textsOf(new Map(followed.map(({ space, left }) => [space, left])), spaces),
    spaces,
  };
}

/** The state after, and the pods of the state before whose addresses nobody has taken. */
function merged({ before, after }: TransientOptions["clusters"]): ResolvedCluster {
  if (before === after) return after;
  const taken = new Set(after.pods.flatMap(({ addresses }) => addresses.map(formatAddress)));
  const keys = new Set(after.model.endpoints.map(({ key }) => key));
  const gone = before.pods.filter(({ addresses }) => !addresses.some((address) => taken.has(formatAddress(address))));
  const policies = new Set(after.model.policies);
  return {
    ...after,
    pods: [...after.pods, ...gone],
    model: {
      ...after.model,
      endpoints: [...after.model.endpoints, ...gone.filter(({ key }) => !keys.has(key))],
      policies: [...policies, ...before.model.policies.filter((policy) => !policies.has(policy))],
    },
  };
}

interface FollowOptions {
  readonly space: PacketSpace;
  readonly before: Program;
  readonly changes: readonly Moment[];
  readonly arrivals: ReadonlyMap<string, number>;
  readonly limit: number;
}

interface Turn extends Place {
  readonly verdict: Verdict;
}

interface Followed extends Omit<Transients, "spaces" | "left"> {
  readonly space: PacketSpace;
  readonly left: readonly Box[];
}

function followSpace({ space, before, changes, arrivals, limit }: FollowOptions): Followed {
  const areas = new ChangedAreas(space);
  const classes = new Classes(space, localAddresses([before, ...changes.map(({ program }) => program)]));
  const concerned = changes.map(({ program }, index) =>
    classes.within(areas.between(changes[index - 1]?.program ?? before, program)),
  );
  const every = new Set<number>();
  for (const some of concerned) for (const each of some) every.add(each);
  const followed = new Set([...every].slice(0, limit));
  const asked = [...followed];
  const node = new NodeVerdicts(before);
  const turns = new Map<number, Turn[]>();
  for (const [index, verdict] of node.of(asked.map((each) => classes.packet(each))).entries()) {
    turns.set(asked[index] ?? 0, [{ operation: 0, part: 0, verdict }]);
  }
  for (const [index, { program, operation, part }] of changes.entries()) {
    const now = (concerned[index] ?? []).filter((each) => followed.has(each));
    if (now.length === 0) continue;
    node.load(program);
    for (const [at, verdict] of node.of(now.map((each) => classes.packet(each))).entries()) {
      const own = turns.get(now[at] ?? 0);
      if (own === undefined) continue;
      // Before the first operation there was no pod, no packet, and nothing that could turn.
      if (operation === 0 && own.length === 1) own[0] = { operation, part, verdict };
      else if (own.at(-1)?.verdict !== verdict) own.push({ operation, part, verdict });
    }
  }
  const found: Transient[] = [];
  let turned = 0;
  for (const [index, own] of turns) {
    if (own.length === 1) continue;
    if (isAccepted(own[0]) !== isAccepted(own.at(-1))) turned++;
    const { source, destination, service } = classes.atoms(index);
    for (const window of windowsOf(own, arrivalOf([source, destination], arrivals))) {
      found.push({ ...window, packet: classes.packet(index), source, destination, service });
    }
  }
  const left = classes.boxesOf([...every].slice(limit));
  return { space, found, turned, concerned: every.size, followed: followed.size, left };
}

function isAccepted(turn: Turn | undefined): boolean {
  return turn?.verdict === "accept";
}

/** When the pod among the ends came that came last; undefined: none came. */
function arrivalOf(ends: readonly AddressAtom[], arrivals: ReadonlyMap<string, number>): number | undefined {
  const found = ends.flatMap(({ pod, representative }) =>
    pod === undefined ? [] : (arrivals.get(formatAddress(representative)) ?? []),
  );
  return found.length === 0 ? undefined : Math.max(...found);
}

type Window = Pick<Transient, "kind" | "from" | "to" | "usual" | "between">;

/** The stretches of a class's verdicts that are neither its first nor its last. */
function windowsOf(turns: readonly Turn[], arrival: number | undefined): readonly Window[] {
  const [first, last] = [turns[0], turns.at(-1)];
  if (first === undefined || last === undefined) return [];
  const opens = isAccepted(first);
  if (opens !== isAccepted(last)) {
    // What was closed and becomes open is what the change is for, and so is the other way round, but for a pod that is new.
    if (arrival === undefined || isAccepted(last)) return [];
    const met =
      turns.findLast(({ operation, part }) => operation < arrival || (operation === arrival && part === 0)) ?? first;
    if (!isAccepted(met)) return [];
    const closed = turns.slice(turns.indexOf(met)).find((turn) => !isAccepted(turn)) ?? last;
    return [
      { kind: "open", from: { operation: arrival, part: 0 }, to: closed, usual: last.verdict, between: met.verdict },
    ];
  }
  const windows: Window[] = [];
  for (let index = 1; index < turns.length; index++) {
    const start = turns[index];
    if (start === undefined || isAccepted(start) === opens) continue;
    const end = turns.slice(index).find((turn) => isAccepted(turn) === opens);
    if (end === undefined) break;
    windows.push({
      kind: opens ? "outage" : "leak",
      from: start,
      to: end,
      usual: first.verdict,
      between: start.verdict,
    });
    index = turns.indexOf(end);
  }
  return windows;
}

function localAddresses(programs: readonly Program[]): ReadonlySet<string> {
  const addresses = new Set<string>();
  for (const attachment of new Set(programs.map((program) => program.attachment))) {
    for (const pod of attachment.pods) for (const address of pod.addresses) addresses.add(formatAddress(address));
  }
  return addresses;
}

/** The classes of a space by number: source, destination, service. */
class Classes {
  readonly #space: PacketSpace;
  readonly #isLocal: readonly boolean[];

  constructor(space: PacketSpace, local: ReadonlySet<string>) {
    this.#space = space;
    this.#isLocal = space.addresses.map(({ representative }) => local.has(formatAddress(representative)));
  }

  /** Of distinct classes. Services of a pair are put together first: there may be millions of classes. */
  boxesOf(list: readonly number[]): readonly Box[] {
    const { addresses, services } = this.#space;
    const pairs = new Map<number, number[]>();
    for (const index of list) {
      const pair = Math.floor(index / services.length);
      const own = pairs.get(pair);
      if (own === undefined) pairs.set(pair, [index % services.length]);
      else own.push(index % services.length);
    }
    return joinedBoxes(
      [...pairs].map(([pair, some]) => ({
        sources: [Math.floor(pair / addresses.length)],
        destinations: [pair % addresses.length],
        services: some.sort((a, b) => a - b),
      })),
    );
  }

  atoms(index: number) {
    const { addresses, services } = this.#space;
    const pair = Math.floor(index / services.length);
    const [source, destination] = [addresses[Math.floor(pair / addresses.length)], addresses[pair % addresses.length]];
    const service = services[index % services.length];
    if (source === undefined || destination === undefined || service === undefined) {
      throw new RangeError(`class ${index}`);
    }
    return { source, destination, service };
  }

  packet(index: number): Packet {
    const { source, destination, service } = this.atoms(index);
    return packetOf(source, destination, service);
  }

  /** Classes of the areas with an end on the node, each once, in order. */
  within(areas: readonly Area[]): readonly number[] {
    const { addresses, services } = this.#space;
    const found = new Set<number>();
    for (const {
      sources = keysOf(addresses),
      destinations = keysOf(addresses),
      services: some = keysOf(services),
    } of areas) {
      for (const source of sources) {
        for (const destination of destinations) {
          if (this.#isLocal[source] !== true && this.#isLocal[destination] !== true) continue;
          const [from, to] = [addresses[source], addresses[destination]];
          if (from === undefined || to === undefined || !isOnTheWay(from, to)) continue;
          const pair = (source * addresses.length + destination) * services.length;
          for (const service of some) found.add(pair + service);
        }
      }
    }
    return [...found].sort((a, b) => a - b);
  }
}

function keysOf(list: readonly unknown[]): readonly number[] {
  return [...list.keys()];
}

/** The packet's walk in a state of the node. */
export function walkIn(program: Program, packet: Packet): PacketResult {
  return new Fabric([program], { only: program.node, walk: true }).push(packet);
}
