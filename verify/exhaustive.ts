/**
 * The exhaustive check: several sides asked about every tuple of a packet space. Equality is then a statement about every
 * first packet of a connection of the family, not about a sample.
 */
import type { ClusterModel, Endpoint } from "../compiler/model.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import { formatAddress, type IpAddress } from "../dataplane/address.ts";
import type { Packet } from "../dataplane/packet.ts";
import { evaluate } from "../reference/evaluate.ts";
import type { Tuple } from "./boxes.ts";
import { leftTexts } from "./boxTexts.ts";
import { NOT_ASKED, type Opening, REFERENCE } from "./lane.ts";
import type { ServiceSplit } from "./serviceSplit.ts";
import { isOnTheWay, type PacketSpace, packetOf, spaceSize } from "./space.ts";

/** Something that has a verdict on first packets of connections, asked one pair of addresses at a time. */
export interface Side {
  readonly name: string;
  open(packets: readonly Packet[]): readonly Opening[];
}

/**
 * The API text as a side. It looks through all pods and all policies for every packet; of these only the pods that list
 * one of the two addresses, and the policies of their namespaces, can have a say. So it is asked with a model of those,
 * made once for each pair of addresses: the answer is the same, in a fifth of the time for a hundred pods.
 */
export function referenceSide({ model }: ResolvedCluster): Side {
  const holders = new Map<string, Endpoint[]>();
  for (const pod of model.endpoints) {
    for (const address of pod.addresses) {
      const text = formatAddress(address);
      const known = holders.get(text);
      if (known === undefined) holders.set(text, [pod]);
      else known.push(pod);
    }
  }
  let last: { readonly source: IpAddress; readonly destination: IpAddress; readonly model: ClusterModel } | undefined;
  const concerned = ({ source, destination }: Packet): ClusterModel => {
    if (last !== undefined && last.source === source && last.destination === destination) return last.model;
    const found = [source, destination].flatMap((address) => holders.get(formatAddress(address)) ?? []);
    const endpoints = [...new Set(found)];
    const namespaces = new Set(endpoints.map(({ namespace }) => namespace));
    const policies = model.policies.filter(({ namespace }) => namespaces.has(namespace));
    last = { source, destination, model: { ...model, endpoints, policies } };
    return last.model;
  };
  return {
    name: REFERENCE,
    open: (packets) =>
      packets.map((packet) => {
        const { verdict } = evaluate(concerned(packet), packet);
        // What answers an allowed connection is part of it (row 37).
        return { verdict, answer: verdict === "accept" ? verdict : undefined };
      }),
  };
}

export interface Asked {
  readonly space: PacketSpace;
  readonly tuple: Tuple;
  /** The tuples that this one stands for, itself among them. */
  readonly alike: readonly Tuple[];
  readonly packet: Packet;
  /** One for each side, in order. */
  readonly openings: readonly Opening[];
}

export interface Coverage {
  /** Tuples that were asked, and the packets they stand for. */
  readonly tuples: number;
  readonly packets: bigint;
  /** Packets of the whole space. */
  readonly total: bigint;
  /** What was not asked about, as boxes in words; empty when everything was. */
  readonly left: readonly string[];
}

export interface SpaceWalk {
  /** Stop after so many tuples. */
  readonly limit: number;
  /** Whether packets between these two can be met at all; of others nobody is asked. Absent: all can. */
  meets?(source: IpAddress, destination: IpAddress): boolean;
  /** What tuples of a pair may be asked as one; absent: each is asked. */
  split?(space: PacketSpace): Pick<ServiceSplit, "groupsOf">;
  /** Called for every tuple that was asked; what differs is the caller's to judge. `"stop"` ends the walk after this tuple. */
  visit(asked: Asked): "stop" | undefined;
  /** So many tuples come next. False: stop before them. */
  proceed?(count: number): Promise<boolean>;
}

/** Asks every side about every tuple of every space, up to the limit. */
export async function walkSpaces(
  spaces: readonly PacketSpace[],
  sides: readonly Side[],
  { limit, meets, split, visit, proceed }: SpaceWalk,
): Promise<Coverage> {
  const total = spaces.reduce((sum, space) => sum + spaceSize(space), 0n);
  let tuples = 0;
  let packets = 0n;
  for (const [at, space] of spaces.entries()) {
    const { addresses, services } = space;
    const single = services.map((_, service) => [service]);
    const groups = split?.(space) ?? { groupsOf: () => single };
    for (const [source, from] of addresses.entries()) {
      for (const [destination, to] of addresses.entries()) {
        if (!isOnTheWay(from, to)) continue;
        const pairs = from.size * to.size;
        const until = (unasked: readonly number[]): Coverage => {
          const left = leftTexts(spaces, { at, source, destination, services: unasked });
          return { tuples, packets, total, left };
        };
        if (meets?.(from.representative, to.representative) === false) {
          for (const { size } of services) packets += pairs * size;
          continue;
        }
        const all = groups.groupsOf(source, destination);
        const classes = all.slice(0, limit - tuples);
        if (classes.length === 0 || (proceed !== undefined && !(await proceed(classes.length))))
          return until(all.flat());
        const asked = classes
          .flatMap(([service = 0]) => services[service] ?? [])
          .map((atom) => packetOf(from, to, atom));
        const answers = sides.map((side) => side.open(asked));
        for (const [index, packet] of asked.entries()) {
          const openings = answers.map((one) => one[index] ?? NOT_ASKED);
          const alike = (classes[index] ?? []).map((service) => ({ source, destination, service }));
          const [tuple] = alike;
          if (tuple === undefined) throw new RangeError(`no class ${index} of ${classes.length}`);
          const wish = visit({ space, tuple, alike, packet, openings });
          tuples++;
          for (const { service } of alike) packets += pairs * (services[service]?.size ?? 0n);
          if (wish === "stop") return until(all.slice(index + 1).flat());
        }
        if (classes.length < all.length) return until(all.slice(classes.length).flat());
      }
    }
  }
  return { tuples, packets, total, left: [] };
}

/** Of all packets, the part that was asked about: 1 only when every one was. */
export function coverageRatio({ packets, total }: Omit<Coverage, "left">): number {
  if (packets >= total) return 1;
  // Scaled so that a missing packet among 2^64 does not round to everything.
  return Math.min(Number((packets * 1_000_000n) / total) / 1_000_000, 0.999999);
}

/** How many packets a tuple stands for. */
export function tupleSize({ addresses, services }: PacketSpace, { source, destination, service }: Tuple): bigint {
  return (addresses[source]?.size ?? 0n) * (addresses[destination]?.size ?? 0n) * (services[service]?.size ?? 0n);
}
