/**
 * Proof instead of samples: a strategy's programs against the API text over every class of packet, its declared
 * deviations aside; or an imported node against what the manifests mean.
 */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Strategy } from "../compiler/strategies/strategy.ts";
import type { Packet } from "../dataplane/packet.ts";
import type { Verdict } from "../dataplane/verdict.ts";
import { evaluate } from "../reference/evaluate.ts";
import type { Tuple } from "./boxes.ts";
import { boxTexts, type Coverage, laneSide, referenceSide, walkSpaces } from "./exhaustive.ts";
import type { Lane } from "./lane.ts";
import { blindSpots, type PacketSpace, packetSpaces } from "./space.ts";

export interface ProofDifference {
  readonly packet: Packet;
  readonly expected: Verdict;
  readonly actual: Verdict;
  /** The reference's reasons. */
  readonly because: readonly string[];
  /** Which packets, in words. */
  readonly boxes: readonly string[];
}

export interface Proof {
  readonly strategy: string;
  /** Differences that no declared deviation explains. */
  readonly differences: readonly ProofDifference[];
  /** Tuples that a deviation decided, by its name. */
  readonly deviations: Readonly<Record<string, number>>;
  readonly coverage: Coverage;
  /** What the programs read and the space does not vary. */
  readonly blindSpots: readonly string[];
}

export interface ProofOptions {
  readonly limit: number;
  proceed?(): Promise<boolean>;
}

interface OpenDifference {
  readonly packet: Packet;
  readonly expected: Verdict;
  readonly actual: Verdict;
  readonly tuples: Map<PacketSpace, Tuple[]>;
}

/** Asks the lane and the reference about every class of packet. */
export async function proveLane(
  cluster: ResolvedCluster,
  lane: Lane & { readonly strategy: Strategy },
  { limit, proceed }: ProofOptions,
): Promise<Proof> {
  const { strategy } = lane;
  const found = new Map<string, OpenDifference>();
  const deviations: Record<string, number> = {};
  const coverage = await walkSpaces(packetSpaces(cluster, lane.programs), [laneSide(lane), referenceSide(cluster)], {
    limit,
    ...(proceed && { proceed }),
    visit: ({ space, tuple, packet, verdicts }) => {
      const [actual = "unknown", reference] = verdicts;
      const meant: Verdict = reference === "accept" ? "accept" : strategy.denyVerdict;
      const deviation = strategy.deviations.find((one) => one.verdict(cluster, packet) !== undefined);
      const expected = deviation?.verdict(cluster, packet) ?? meant;
      if (deviation !== undefined) deviations[deviation.name] = (deviations[deviation.name] ?? 0) + 1;
      if (actual === expected) return;
      const key = `${expected} ${actual} ${evaluate(cluster.model, packet).because.join()}`;
      const difference = found.get(key) ?? { packet, expected, actual, tuples: new Map() };
      found.set(key, difference);
      difference.tuples.set(space, [...(difference.tuples.get(space) ?? []), tuple]);
    },
  });
  return {
    strategy: strategy.name,
    differences: [...found.values()].map(({ packet, expected, actual, tuples }) => ({
      packet,
      expected,
      actual,
      because: evaluate(cluster.model, packet).because,
      boxes: [...tuples].flatMap(([space, list]) => boxTexts(space, list, cluster)),
    })),
    deviations,
    coverage,
    blindSpots: blindSpots(lane.programs),
  };
}
