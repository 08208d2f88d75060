/**
 * compare: every class of packet under several strategies and the reference. Where they part, the packets are grouped by
 * cause: the deviations that the strategies themselves declare.
 */
import { type ResolvedCluster, resolvePolicies } from "../compiler/resolve.ts";
import type { IpAddress } from "../dataplane/address.ts";
import type { Packet } from "../dataplane/packet.ts";
import type { Verdict } from "../dataplane/verdict.ts";
import type { Tuple } from "./boxes.ts";
import { boxTexts } from "./boxTexts.ts";
import { type Cost, changedByOneAddress, opensConnection, sizeOf, WorkSample } from "./cost.ts";
import { type Coverage, type Side, tupleSize, walkSpaces } from "./exhaustive.ts";
import { type Lane, REFERENCE } from "./lane.ts";
import { type PacketSpace, packetSpaces } from "./space.ts";

export interface ComparedGroup {
  /** Who deviates and how: `kube-router: ping-always-allowed; romana: egress-not-enforced`. */
  readonly cause: string;
  /** How many packets the group stands for. */
  readonly packets: bigint;
  readonly tuples: number;
  readonly example: Packet;
  /** By strategy. */
  readonly verdicts: Readonly<Record<string, Verdict>>;
  /** Which packets, in words, the largest part first. */
  readonly boxes: readonly string[];
}

export interface Comparison {
  readonly strategies: readonly string[];
  readonly groups: readonly ComparedGroup[];
  /** Of strategies with programs. */
  readonly cost: Readonly<Record<string, Cost>>;
  readonly coverage: Coverage;
}

export interface CompareOptions {
  /** Stop after so many tuples of atoms. */
  readonly limit: number;
  /** As in `SpaceWalk`. */
  meets?(source: IpAddress, destination: IpAddress): boolean;
  /** So many tuples come next. False: stop before them. */
  proceed?(count: number): Promise<boolean>;
}

interface OpenGroup {
  readonly cause: string;
  example: Packet;
  /** How much the example says to people. */
  telling: number;
  readonly verdicts: Readonly<Record<string, Verdict>>;
  readonly tuples: Map<PacketSpace, Tuple[]>;
  packets: bigint;
}

/** Compares lanes, one of which is the reference. */
export async function compareLanes(
  cluster: ResolvedCluster,
  lanes: readonly Lane[],
  { limit, meets, proceed }: CompareOptions,
): Promise<Comparison> {
  const spaces = packetSpaces(
    cluster,
    lanes.flatMap(({ programs }) => programs),
  );
  const samples = new Map(lanes.map((lane) => [lane, new WorkSample()]));
  const groups = new Map<string, OpenGroup>();
  const coverage = await walkSpaces(
    spaces,
    lanes.map((lane) => measuredSide(lane, samples.get(lane))),
    {
      limit,
      ...(meets && { meets }),
      ...(proceed && { proceed }),
      visit: ({ space, tuple, packet, openings }) => {
        const verdicts = openings.map(({ verdict }) => verdict);
        const [first] = verdicts;
        // A rejection is heard and a drop is not, but both keep the packet from where it was going.
        if (verdicts.every((verdict) => (verdict === "accept") === (first === "accept"))) return undefined;
        const named = Object.fromEntries(lanes.map(({ name }, index) => [name, verdicts[index] ?? "unknown"]));
        const cause = causeOf(cluster, lanes, { packet, verdicts });
        const key = `${cause} ${verdicts.join()}`;
        const telling = tellingOf(space, tuple);
        const group: OpenGroup = groups.get(key) ?? {
          cause,
          example: packet,
          telling,
          verdicts: named,
          tuples: new Map(),
          packets: 0n,
        };
        groups.set(key, group);
        if (telling > group.telling) {
          group.example = packet;
          group.telling = telling;
        }
        group.packets += tupleSize(space, tuple);
        const tuples = group.tuples.get(space) ?? [];
        group.tuples.set(space, tuples);
        tuples.push(tuple);
        return undefined;
      },
    },
  );
  const cost = lanes
    .filter(({ programs }) => programs.length > 0)
    .map((lane): readonly [string, Cost] => [
      lane.name,
      {
        ...sizeOf(lane.programs),
        ...(samples.get(lane) ?? new WorkSample()).spreads,
        ...(lane.reach === "cluster" && { changedByOneAddress: changedByOneAddress(cluster, lane, resolvePolicies) }),
      },
    ]);
  return {
    strategies: lanes.map(({ name }) => name),
    groups: [...groups.values()].map((group) => closed(group, spaces)).sort((a, b) => b.tuples - a.tuples),
    cost: Object.fromEntries(cost),
    coverage,
  };
}

/** A packet between pods to a port that somebody named says more than one from anywhere to port 0. */
function tellingOf({ addresses, services }: PacketSpace, { source, destination, service }: Tuple): number {
  const ends = [addresses[source], addresses[destination]].filter((atom) => atom?.pod !== undefined);
  return 2 * ends.length + ((services[service]?.ports?.first ?? 0) > 0 ? 1 : 0);
}

function measuredSide(lane: Lane, sample: WorkSample | undefined): Side {
  return {
    name: lane.name,
    open: (packets) =>
      packets.map((packet) => {
        lane.flush();
        const { verdict, by } = lane.push(packet);
        if (by.kind === "fabric" && sample !== undefined) {
          sample.add(by.result.work);
          if (verdict === "accept" && opensConnection(packet)) sample.addEstablished(lane, packet);
        }
        return { verdict, answer: undefined };
      }),
  };
}

function closed(
  { cause, example, verdicts, tuples, packets }: OpenGroup,
  spaces: readonly PacketSpace[],
): ComparedGroup {
  return {
    cause,
    packets,
    tuples: [...tuples.values()].reduce((total, list) => total + list.length, 0),
    example,
    verdicts,
    boxes: boxTexts(tuples, spaces),
  };
}

/** The declared deviations of those whose verdict is not the reference's. */
function causeOf(
  cluster: ResolvedCluster,
  lanes: readonly Lane[],
  { packet, verdicts }: { readonly packet: Packet; readonly verdicts: readonly Verdict[] },
): string {
  const meant = verdicts[lanes.findIndex(({ name }) => name === REFERENCE)];
  const causes = lanes.flatMap(({ name, strategy }, index) => {
    if (strategy === undefined || (verdicts[index] === "accept") === (meant === "accept")) return [];
    const deviation = strategy.deviations.find((one) => one.verdict(cluster, packet) === verdicts[index]);
    return `${name}: ${deviation?.name ?? "no declared deviation"}`;
  });
  return causes.join("; ");
}
