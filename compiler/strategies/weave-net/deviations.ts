/** Where weave-npc's enforcement differs from the API text. */
import { cidrContains, hostCidr, parseCidr } from "../../../dataplane/address.ts";
import { deviationsOf, type Quirk } from "../../deviation.ts";
import type { NetworkPolicy } from "../../model.ts";
import {
  blockMatches,
  type PacketEnd,
  type PolicyContext,
  type PolicyReading,
  portMatches,
  type RuleContext,
} from "../../policyReading.ts";
import type { ResolvedCluster, ResolvedRule } from "../../resolve.ts";
import { isAnyAddress } from "./analyse.ts";
import { hasWeaveAddress, type Stop, type WeaveController } from "./controller.ts";
import { runController } from "./run.ts";
import { selectorSpec } from "./selector.ts";

// The controller's state follows from the cluster alone, and a predicate is asked about many packets of one cluster.
const CONTROLLERS = new WeakMap<ResolvedCluster, WeaveController>();

function controllerOf(cluster: ResolvedCluster): WeaveController {
  let controller = CONTROLLERS.get(cluster);
  if (controller === undefined) {
    controller = runController(cluster);
    CONTROLLERS.set(cluster, controller);
  }
  return controller;
}

/** A reading that leaves out the policies for which `gone` holds. */
function without(reading: PolicyReading, gone: (context: PolicyContext) => boolean): PolicyReading {
  return {
    ...reading,
    isolates: (context) => !gone(context) && reading.isolates(context),
    counts: (context) => !gone(context) && reading.counts(context),
  };
}

function hasNamedPort({ ingress, egress }: NetworkPolicy): boolean {
  return [...ingress, ...egress].some(({ ports }) => ports.some(({ port }) => typeof port === "string"));
}

/** The peers of a rule up to the first IPv6 block: `iptables` refuses that one, and weave-npc stops there. */
function beforeIpv6Block(rules: readonly ResolvedRule[]): { readonly rules: ResolvedRule[]; readonly cut: boolean } {
  const kept: ResolvedRule[] = [];
  for (const rule of rules) {
    const refused = rule.peers.findIndex(
      (peer) => peer.kind === "ipBlock" && peer.cidr.family === 6 && !isAnyAddress(peer.cidr),
    );
    if (refused < 0) kept.push(rule);
    else {
      if (refused > 0) kept.push({ ...rule, peers: rule.peers.slice(0, refused) });
      return { rules: kept, cut: true };
    }
  }
  return { rules: kept, cut: false };
}

/** The rules of a policy that fails half way which are in force: ingress is written before egress. */
function rulesInForce(context: PolicyContext, rules: readonly ResolvedRule[], cause: Stop): readonly ResolvedRule[] {
  const outcome = controllerOf(context.cluster).outcome(context.policy.policy);
  if (outcome.kind !== "partial" || outcome.cause !== cause) return rules;
  if (outcome.ruleCount === 0) return [];
  if (context.direction === "egress" && beforeIpv6Block(context.policy.ingress).cut) return [];
  return beforeIpv6Block(rules).rules;
}

/** A reading in which policies that stopped for the cause are in force as far as they came. */
function stopping(reading: PolicyReading, cause: Stop): PolicyReading {
  return without(
    { ...reading, rules: (context) => rulesInForce(context, reading.rules(context), cause) },
    ({ cluster, policy: { policy } }) => {
      const outcome = controllerOf(cluster).outcome(policy);
      return outcome.kind === "rejected" && outcome.cause === cause;
    },
  );
}

function inPeerSet({ cluster, policy, rule }: RuleContext, peer: PacketEnd): boolean {
  return rule.peers.some((one) => {
    if (one.kind === "ipBlock") return blockMatches(one, peer.address);
    const { set } = selectorSpec(policy.policy.namespace, one.podSelector, one.namespaceSelector);
    return controllerOf(cluster).kernel.contains(set, hostCidr(peer.address));
  });
}

const MULTICAST = ["224.0.0.0/4"].flatMap((text) => parseCidr(text) ?? []);

const quirks: readonly Quirk[] = [
  {
    name: "ipv6-unfiltered",
    summary: "Only IPv4 is filtered; every IPv6 packet passes.",
    source: "weaveworks/weave npc/controller.go: the iptables handle is IPv4's; dumps/weave-net has no ip6tables",
    scenario: "weave-net-ipv6-unfiltered",
    apply: (reading) => ({
      ...reading,
      shortcut: (cluster, packet, ends) =>
        packet.source.family === 6 ? "accept" : reading.shortcut(cluster, packet, ends),
    }),
  },
  // Before those that leave a policy out: it says which rules count, not whose.
  {
    name: "policy-types-ignored-by-rules",
    summary: "Rules of a direction that policyTypes leaves out still allow, for pods that another policy isolates.",
    source: "weaveworks/weave npc/analyser.go analysePolicy; dumps probes/egress-not-in-types",
    scenario: "weave-net-policy-types-ignored-by-rules",
    apply: (reading) => ({ ...reading, counts: () => true }),
  },
  {
    name: "named-port-rejects-policy",
    summary: "A policy with a named port anywhere is rejected whole: its pods are not even isolated by it.",
    source: "weaveworks/weave npc/analyser.go checkForNamedPorts; dumps named-ports errors.json",
    scenario: "weave-net-named-port-rejects-policy",
    apply: (reading) => without(reading, ({ policy }) => hasNamedPort(policy.policy)),
  },
  {
    name: "end-port-ignored",
    summary: "Of a port range only the first port is allowed.",
    source: "weaveworks/weave npc/analyser.go port(): endPort is unknown to the vendored API; dumps ports",
    scenario: "weave-net-end-port-ignored",
    apply: (reading) => ({
      ...reading,
      portsMatch: (context) =>
        reading.portsMatch(context) &&
        (context.rule.ports.length === 0 ||
          context.rule.ports.some((port) =>
            portMatches({ ...port, endPort: undefined }, context.packet, context.ends.destination.pod),
          )),
    }),
  },
  {
    name: "set-name-taken",
    summary:
      "namespaceSelector X with an empty podSelector needs the set name of namespaceSelector X alone: the later policy fails, before or after it has isolated its pods.",
    source: "weaveworks/weave npc/selector.go newSelectorSpec; dumps probes/collide-*",
    scenario: "weave-net-set-name-taken",
    apply: (reading) => stopping(reading, "name taken"),
  },
  {
    name: "refused-address-ends-policy",
    summary:
      "ipset and iptables refuse IPv6: a policy ends at a block or an except of it, and at the first selector that is new and meets a pod whose first address it is. Its pods may not be isolated, and rules are missing.",
    source: "weaveworks/weave npc/selector.go provision, npc/rule.go provision; dumps probes/v6-cidr, dual-stack",
    scenario: "weave-net-primary-address-only",
    apply: (reading) => stopping(reading, "refused"),
  },
  {
    name: "selectors-that-print-alike",
    summary:
      "A peer's set is found by its printed selectors with nothing between them: `{}` with `a=b` and `a=b` with `{}` are one set, whichever came first.",
    source: "weaveworks/weave npc/selector.go newSelectorSpec (key)",
    scenario: "weave-net-selectors-that-print-alike",
    apply: (reading) => ({
      ...reading,
      peersMatch: (context) =>
        context.rule.peers.length > 0 &&
        controllerOf(context.cluster).outcome(context.policy.policy).kind === "complete"
          ? inPeerSet(context, context.peer)
          : reading.peersMatch(context),
    }),
  },
  {
    name: "ipv6-everything-covers-ipv4",
    summary: "The IPv6 block ::/0 stands for every IPv4 address: of a prefix of length 0 iptables reads no address.",
    source: "weaveworks/weave npc/ipblock.go getRuleSpec; libxtables xtables_ipparse_any, iptables 1.8.9",
    scenario: "weave-net-ipv6-everything-covers-ipv4",
    apply: (reading) => ({
      ...reading,
      peersMatch: (context) =>
        context.rule.peers.some(
          (peer) => peer.kind === "ipBlock" && peer.cidr.family === 6 && isAnyAddress(peer.cidr),
        ) || reading.peersMatch(context),
    }),
  },
  {
    name: "primary-address-only",
    summary:
      "A pod is known by its first address; one that starts with IPv6 is in no set and its IPv4 traffic is refused.",
    source: "weaveworks/weave npc/namespace.go addPod (status.podIP)",
    scenario: "weave-net-primary-address-only",
    apply: (reading) => {
      const changed = without(reading, ({ subject }) => !hasWeaveAddress(subject));
      return {
        ...changed,
        shortcut: (cluster, packet, ends) => {
          const early = reading.shortcut(cluster, packet, ends);
          if (early !== undefined || packet.source.family === 6) return early;
          const { source, destination } = ends;
          if (destination.pod !== undefined && !hasWeaveAddress(destination.pod)) return "drop";
          const unknownSource = source.pod !== undefined && !hasWeaveAddress(source.pod);
          return unknownSource && controllerOf(cluster).egressDrop ? "drop" : undefined;
        },
      };
    },
  },
  {
    name: "multicast-open",
    summary: "Multicast destinations are exempt from egress policy.",
    source: "weaveworks/weave prog/weave-npc/main.go (--allow-mcast, default true)",
    scenario: "weave-net-multicast-open",
    reads: { prefixes: MULTICAST },
    apply: (reading) => ({
      ...reading,
      shortcut: (cluster, packet, ends) =>
        MULTICAST.some((cidr) => cidrContains(cidr, packet.destination))
          ? "accept"
          : reading.shortcut(cluster, packet, ends),
    }),
  },
];

export const deviations = deviationsOf(quirks, "drop");
