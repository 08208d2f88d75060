/**
 * Proof instead of samples: a strategy's programs against the API text over every class of packet, its declared
 * deviations aside; or an imported node against what the manifests mean.
 */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Deviation, Strategy } from "../compiler/strategies/strategy.ts";
import type { Packet } from "../dataplane/packet.ts";
import type { Program } from "../dataplane/program.ts";
import type { Verdict } from "../dataplane/verdict.ts";
import { evaluate } from "../reference/evaluate.ts";
import { answerTo } from "./answer.ts";
import type { Tuple } from "./boxes.ts";
import { boxTexts } from "./boxTexts.ts";
import { type Asked, type Coverage, referenceSide, type Side, walkSpaces } from "./exhaustive.ts";
import { type Lane, NOT_ASKED, type Opening } from "./lane.ts";
import { meantVerdict, plainVerdict } from "./meant.ts";
import { ServiceSplit } from "./serviceSplit.ts";
import { type PacketSpace, packetOf, packetSpaces } from "./space.ts";
import { blindSpots } from "./spaceReads.ts";

export interface ProofDifference {
  /** A first packet of a connection, or the answer to one that passed. */
  readonly packet: Packet;
  /** `established`: the packet is an answer. */
  readonly ctState: "new" | "established";
  readonly expected: Verdict;
  readonly actual: Verdict;
  /** The reference's reasons, for this packet. */
  readonly because: readonly string[];
  /** Which packets, in words. */
  readonly boxes: readonly string[];
}

export interface Proof {
  readonly strategy: string;
  /** Differences that no declared deviation explains. */
  readonly differences: readonly ProofDifference[];
  /** Tuples whose verdict a declared deviation changed, by its name. */
  readonly deviations: Readonly<Record<string, number>>;
  readonly coverage: Coverage;
  /** What the programs read and the space does not vary. */
  readonly blindSpots: readonly string[];
}

export interface ProofOptions {
  /** Ask about so many tuples at most. */
  readonly limit: number;
  /** Stop at so many kinds of differences; absent: find all. */
  readonly mostDifferences?: number;
  /** So many classes come next. False: stop before them. */
  proceed?(count: number): Promise<boolean>;
}

interface OpenDifference extends Omit<ProofDifference, "because" | "boxes"> {
  /** The first packet, which the API text is asked about. */
  readonly opening: Packet;
  readonly tuples: Map<PacketSpace, Tuple[]>;
}

/** A strategy's programs on all nodes against the API text, its declared deviations aside. */
export async function proveStrategy(
  cluster: ResolvedCluster,
  { lane, strategy }: { readonly lane: Lane; readonly strategy: Strategy },
  options: ProofOptions,
): Promise<Proof> {
  const sides = [lane, referenceSide(cluster)];
  const deviations: Record<string, number> = {};
  let turn = 0;
  const judge: Judge = ({ space, alike, packet, openings }) => {
    const said = openings[1]?.verdict === "accept" ? "accept" : "drop";
    const { verdict, deviation } = meantVerdict(strategy, { cluster, packet, said });
    // Another one of the class, each time another: whether deviations keep to what the split believes that they read.
    const other = alike.length > 1 ? packetAt(space, alike[1 + (turn++ % (alike.length - 1))]) : packet;
    const guarded = meantVerdict(strategy, { cluster, packet: other, said });
    if (guarded.verdict !== verdict) {
      const name = (guarded.deviation ?? deviation)?.name;
      const ports = `${packet.destinationPort} and ${other.destinationPort}`;
      throw new Error(
        `deviation ${name} of ${strategy.name} tells ports ${ports} apart, which neither policies nor programs of these ends do`,
      );
    }
    if (deviation !== undefined && verdict !== plainVerdict(strategy, said)) {
      deviations[deviation.name] = (deviations[deviation.name] ?? 0) + 1;
    }
    return openingOf(verdict);
  };
  return {
    ...(await prove(
      cluster,
      { name: strategy.name, sides, programs: lane.programs, deviations: strategy.deviations, judge },
      options,
    )),
    deviations,
  };
}

function packetAt({ addresses, services }: PacketSpace, tuple: Tuple | undefined): Packet {
  const [from, to] = [addresses[tuple?.source ?? -1], addresses[tuple?.destination ?? -1]];
  const service = services[tuple?.service ?? -1];
  if (from === undefined || to === undefined || service === undefined) throw new RangeError("no such tuple");
  return packetOf(from, to, service);
}

/**
 * Two programs about the same packets: a node's as it was read against the one compiled for it, two strategies, two
 * versions of the policies. The second says what is expected; a refusal is one whether it is silent or not.
 */
export async function comparePrograms(
  cluster: ResolvedCluster,
  [accused, standard]: readonly [accused: Lane, standard: Lane],
  options: ProofOptions,
): Promise<Proof> {
  const sides = [accused, standard];
  const programs = [...accused.programs, ...standard.programs];
  const refusal = standard.denyVerdict;
  const judge: Judge = ({ openings: [, expected = NOT_ASKED] }) =>
    expected.verdict === refusal ? { ...expected, verdict: accused.denyVerdict } : expected;
  return prove(cluster, { name: accused.name, sides, programs, deviations: [], judge }, options);
}

/** What the first side should have said. */
type Judge = (asked: Asked) => Opening;

/** The answer to what passes is part of the connection (row 37), under every strategy. */
function openingOf(verdict: Verdict): Opening {
  return { verdict, answer: verdict === "accept" ? verdict : undefined };
}

interface Question {
  readonly name: string;
  /** The accused first. */
  readonly sides: readonly Side[];
  readonly programs: readonly Program[];
  /** Those that `judge` goes by. */
  readonly deviations: readonly Deviation[];
  readonly judge: Judge;
}

async function prove(
  cluster: ResolvedCluster,
  { name, sides, programs, deviations, judge }: Question,
  { limit, mostDifferences = Number.POSITIVE_INFINITY, proceed }: ProofOptions,
): Promise<Proof> {
  const found = new Map<string, OpenDifference>();
  const spaces = packetSpaces(cluster, programs, deviations);
  const coverage = await walkSpaces(spaces, sides, {
    limit,
    ...(proceed && { proceed }),
    split: (space) => new ServiceSplit(cluster, { programs, deviations }, space),
    visit: (asked) => {
      const { space, alike, packet } = asked;
      const [actual = NOT_ASKED] = asked.openings;
      const expected = judge(asked);
      if (actual.verdict === expected.verdict && actual.answer === expected.answer) return undefined;
      const now =
        actual.verdict === expected.verdict
          ? {
              packet: answerTo(packet),
              ctState: "established" as const,
              expected: expected.answer ?? "unknown",
              actual: actual.answer ?? "unknown",
            }
          : { packet, ctState: "new" as const, expected: expected.verdict, actual: actual.verdict };
      const key = `${now.ctState} ${now.expected} ${now.actual} ${evaluate(cluster.model, packet).causes.join()}`;
      const difference = found.get(key) ?? { ...now, opening: packet, tuples: new Map() };
      found.set(key, difference);
      const tuples = difference.tuples.get(space) ?? [];
      difference.tuples.set(space, tuples);
      tuples.push(...alike);
      return found.size >= mostDifferences ? "stop" : undefined;
    },
  });
  return {
    strategy: name,
    differences: [...found.values()].map(({ opening, tuples, ...difference }) => ({
      ...difference,
      because: evaluate(cluster.model, opening).because,
      boxes: boxTexts(tuples, spaces),
    })),
    deviations: {},
    coverage,
    blindSpots: blindSpots(programs),
  };
}
