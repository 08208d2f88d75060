/**
 * Bugs that real solutions had, as lowerings.md and semantics.md number them, planted into ours: in what the strategy is
 * told, or in what it emits.
 */
import { resolvePolicies } from "../../compiler/compile.ts";
import type { ClusterModel, NetworkPolicy, PolicyRule } from "../../compiler/model.ts";
import type { ResolvedCluster, ResolvedRule } from "../../compiler/resolve.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { addressesEqual } from "../../dataplane/address.ts";
import type { Program } from "../../dataplane/program.ts";

export interface HistoricBug {
  /** As its project numbers it. */
  readonly issue: string;
  readonly name: string;
  /** The solution that had it. */
  readonly strategy: string;
  plant(strategy: Strategy): Strategy;
}

export const HISTORIC_BUGS: readonly HistoricBug[] = [
  {
    issue: "kube-router#85",
    name: "a rule whose peers are nobody right now opens to everybody",
    strategy: "kube-router",
    plant: resolved((rule) =>
      rule.peers.length > 0 && rule.peers.every((peer) => peer.kind === "pods" && peer.members.length === 0)
        ? { ...rule, peers: [] }
        : rule,
    ),
  },
  {
    issue: "kube-router#915",
    name: "a policy accepts outright, so that the other end's policies are never asked",
    strategy: "kube-router",
    plant: emitted((program) => {
      if (program.kind !== "tables") return program;
      return {
        ...program,
        families: program.families.map((family) => ({
          ...family,
          tables: family.tables.map((table) => ({
            ...table,
            chains: table.chains.map((chain) =>
              chain.name.startsWith("KUBE-NWPLCY-")
                ? {
                    ...chain,
                    rules: chain.rules.map((rule) =>
                      rule.target?.kind === "return" ? { ...rule, target: { kind: "accept" } as const } : rule,
                    ),
                  }
                : chain,
            ),
          })),
        })),
      };
    }),
  },
  {
    issue: "calico#4373",
    name: "a port entry without port and protocol is every protocol, not all of TCP",
    strategy: "calico-iptables",
    plant: told(
      everyRule((rule) =>
        rule.ports.some(({ port, protocol }) => port === undefined && protocol === "TCP")
          ? { ...rule, ports: [] }
          : rule,
      ),
    ),
  },
  {
    issue: "cilium#28684",
    name: "endPort is silently ignored",
    strategy: "cilium-ebpf",
    plant: told(everyRule((rule) => ({ ...rule, ports: rule.ports.map((port) => ({ ...port, endPort: undefined })) }))),
  },
  {
    issue: "weave#2792",
    name: "the address of a pod that went takes its next owner out of the sets",
    strategy: "weave-net",
    plant: told((model) => {
      const gone = model.endpoints.filter(({ phase }) => phase === "Succeeded" || phase === "Failed");
      const lost = gone.flatMap(({ addresses }) => addresses);
      return {
        ...model,
        endpoints: model.endpoints.map((pod) =>
          gone.includes(pod) || pod.hostNetwork
            ? pod
            : { ...pod, addresses: pod.addresses.filter((own) => !lost.some((other) => addressesEqual(own, other))) },
        ),
      };
    }),
  },
];

/** The strategy reads another cluster than the user wrote; pods hang where they do. */
function told(misread: (model: ClusterModel) => ClusterModel): HistoricBug["plant"] {
  return (strategy) => ({
    ...strategy,
    lower: (cluster, options) => {
      const program = strategy.lower(resolvePolicies(misread(cluster.model)), options);
      return { ...program, attachment: strategy.attach(cluster, options) };
    },
  });
}

function everyRule(change: (rule: PolicyRule) => PolicyRule): (model: ClusterModel) => ClusterModel {
  return (model) => ({
    ...model,
    policies: model.policies.map(
      (policy): NetworkPolicy => ({
        ...policy,
        ingress: policy.ingress.map(change),
        egress: policy.egress.map(change),
      }),
    ),
  });
}

function resolved(change: (rule: ResolvedRule) => ResolvedRule): HistoricBug["plant"] {
  return (strategy) => ({
    ...strategy,
    lower: (cluster, options) => {
      const policies = cluster.policies.map((policy) => ({
        ...policy,
        ingress: policy.ingress.map(change),
        egress: policy.egress.map(change),
      }));
      const changed = new Map(cluster.policies.map((policy, index) => [policy, policies[index] ?? policy]));
      const wrong: ResolvedCluster = {
        ...cluster,
        policies,
        policiesFor: (pod, direction) => cluster.policiesFor(pod, direction).map((one) => changed.get(one) ?? one),
      };
      return strategy.lower(wrong, options);
    },
  });
}

function emitted(change: (program: Program) => Program): HistoricBug["plant"] {
  return (strategy) => ({ ...strategy, lower: (cluster, options) => change(strategy.lower(cluster, options)) });
}
