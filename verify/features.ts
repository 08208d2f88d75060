/** The feature probes answered: the verdict of the reference and of every strategy, and by which deviation they differ. */
import { loadCluster } from "../compiler/compile.ts";
import { formatIssue } from "../compiler/issue.ts";
import { type ResolvedCluster, resolvePolicies } from "../compiler/resolve.ts";
import type { Strategy } from "../compiler/strategies/strategy.ts";
import type { Packet } from "../dataplane/packet.ts";
import type { Verdict } from "../dataplane/verdict.ts";
import { isProblem, packetOf, parsePacketText } from "../traffic/transcript.ts";
import { type FeatureProbe, PROBE_CLUSTER } from "./featureProbes.ts";
import { type Lane, referenceLane, strategyLane } from "./lane.ts";
import { resolverOf } from "./who.ts";

export interface FeatureAnswer {
  readonly strategy: string;
  readonly verdict: Verdict;
  /** Whether the packet passes where the API text lets it, and does not where it does not. */
  readonly agrees: boolean;
  /** The declared deviation that decided, where the strategy does not agree; connections that live have none. */
  readonly deviation: string | undefined;
}

export interface AnsweredProbe {
  readonly probe: FeatureProbe;
  readonly meant: Verdict;
  /** One for each strategy, in order. */
  readonly answers: readonly FeatureAnswer[];
}

/** Asks the reference and the strategies. Throws when a probe is not valid, which is our own mistake. */
export function answerProbe(probe: FeatureProbe, strategies: readonly Strategy[]): AnsweredProbe {
  const cluster = clusterOf(probe.policies);
  const before = probe.before === undefined ? cluster : clusterOf(probe.before.policies);
  const packet = packetFrom(probe.packet, cluster);
  const ask = (lane: Lane): Verdict => {
    for (const text of probe.before?.packets ?? []) lane.push(packetFrom(text, before));
    if (probe.before !== undefined) lane.change(cluster);
    return lane.push(packet).verdict;
  };
  const meant = ask(referenceLane(before));
  return {
    probe,
    meant,
    answers: strategies.map((strategy) => {
      const verdict = ask(strategyLane(before, strategy, {}));
      const agrees = (verdict === "accept") === (meant === "accept");
      const first = !agrees && probe.before === undefined;
      const deviation = first ? strategy.deviations.find((one) => one.verdict(cluster, packet) === verdict) : undefined;
      return { strategy: strategy.name, verdict, agrees, deviation: deviation?.name };
    }),
  };
}

function clusterOf(specs: readonly string[]): ResolvedCluster {
  const policies = specs.map(
    (spec, index) => `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: policy-${index + 1}, namespace: shop }
spec: ${spec}
`,
  );
  const { model, issues } = loadCluster([{ name: "probe.yaml", text: PROBE_CLUSTER + policies.join("") }]);
  if (model === undefined) throw new Error(issues.map(formatIssue).join("\n"));
  return resolvePolicies(model);
}

function packetFrom(text: string, { model }: ResolvedCluster): Packet {
  const read = parsePacketText(text);
  const packet = isProblem(read) ? read : packetOf(read, resolverOf(model, "shop"));
  if (isProblem(packet)) throw new Error(`${text}: ${packet.problem}`);
  return packet;
}
