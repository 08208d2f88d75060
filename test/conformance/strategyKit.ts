/**
 * The conformance kit every strategy faces: its programs, on all nodes of a cluster, must give each first packet of a
 * connection the verdict of the reference, except exactly where one of its declared deviations says otherwise.
 */
import type { ClusterModel } from "../../compiler/model.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Verdict } from "../../dataplane/verdict.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { strategyLane } from "../../verify/lane.ts";
import { meantVerdict, plainVerdict } from "../../verify/meant.ts";

/** What must become of a packet under a strategy, and whose word that is. */
export interface Expectation {
  readonly verdict: Verdict;
  /** The deviation that had a say; undefined: the API text alone. */
  readonly deviation: string | undefined;
  /** What the API text says, with the strategy's way to refuse. */
  readonly meant: Verdict;
}

export interface Disagreement {
  readonly packet: Packet;
  readonly expected: Expectation;
  readonly actual: Verdict;
  /** The reference's explanation. */
  readonly because: readonly string[];
}

export interface Comparison {
  readonly packetCount: number;
  readonly disagreements: readonly Disagreement[];
  /** How often each deviation changed the verdict. */
  readonly bites: ReadonlyMap<string, number>;
}

/** The expectation for each packet: the first deviation that has a say, else the reference. */
export function expectations(strategy: Strategy, model: ClusterModel): (packet: Packet) => Expectation {
  const cluster = resolvePolicies(model);
  return (packet) => {
    const said = evaluate(model, packet).verdict;
    const { verdict, deviation } = meantVerdict(strategy, { cluster, packet, said });
    return { verdict, deviation: deviation?.name, meant: plainVerdict(strategy, said) };
  };
}

/** Pushes each packet through the strategy's fabric with empty connection tracking. */
export function verdicts(strategy: Strategy, model: ClusterModel): (packet: Packet) => Verdict {
  const lane = strategyLane(resolvePolicies(model), strategy, {});
  return (packet) => {
    lane.flush();
    return lane.push(packet).verdict;
  };
}

/** Compares strategy and expectation on every packet. */
export function compareWithReference(strategy: Strategy, model: ClusterModel, packets: readonly Packet[]): Comparison {
  const expect = expectations(strategy, model);
  const push = verdicts(strategy, model);
  const bites = new Map<string, number>();
  const disagreements: Disagreement[] = [];
  for (const packet of packets) {
    const expected = expect(packet);
    const { deviation, meant, verdict } = expected;
    if (deviation !== undefined && verdict !== meant) bites.set(deviation, (bites.get(deviation) ?? 0) + 1);
    const actual = push(packet);
    if (actual !== verdict) {
      disagreements.push({ packet, expected, actual, because: evaluate(model, packet).because });
    }
  }
  return { packetCount: packets.length, disagreements, bites };
}
