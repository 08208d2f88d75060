/** What kube-router makes of named ports, apart from finding them: see namedPorts.ts for its index. */
import { type Packet, protocolName } from "../../../dataplane/packet.ts";
import type { Quirk } from "../../deviation.ts";
import type { PolicyPort, PortProtocol } from "../../model.ts";
import { type PolicyContext, portMatches, type RuleContext } from "../../policyReading.ts";
import type { ResolvedRule } from "../../resolve.ts";
import { indexNamedPorts, type NamedPort, type ResolvedPorts, resolvePorts } from "./namedPorts.ts";
import { blockPeers, egressVisits, ingressVisits, podPeers } from "./policies.ts";
import { BY_NAME } from "./settings.ts";

const BY_DEFAULT = { podOrder: BY_NAME };

function isNamed({ port }: PolicyPort): boolean {
  return typeof port === "string";
}

/** The rule's ports as the index resolves them. */
function resolved({ cluster, policy, direction }: PolicyContext, rule: ResolvedRule): ResolvedPorts {
  const visiting = { cluster, policy, settings: BY_DEFAULT };
  const visits = direction === "ingress" ? ingressVisits(visiting) : egressVisits(visiting, rule);
  return resolvePorts(rule.ports, indexNamedPorts(visits));
}

function isTo(packet: Packet, { protocol, port }: { readonly protocol: PortProtocol; readonly port: number }): boolean {
  return packet.destinationPort === port && protocolName(packet.protocol).toUpperCase() === protocol;
}

/** No ports left of a rule that had some: it allows nothing, where an empty list would allow everything. */
function withPorts(rule: ResolvedRule, ports: readonly PolicyPort[]): readonly ResolvedRule[] {
  return ports.length === 0 ? [] : [{ ...rule, ports }];
}

/** A rule of the policy that writes the set of a named port, and which of its numbers. */
interface SetWriter {
  readonly rule: ResolvedRule;
  readonly named: NamedPort;
}

/** Who wrote each set of named ports last, by what is hashed into its name: rule and number without a separator. */
function setWriters(context: PolicyContext): ReadonlyMap<string, SetWriter> {
  const writers = new Map<string, SetWriter>();
  for (const rule of context.policy[context.direction]) {
    if (!writesSets(rule, context)) continue;
    resolved(context, rule).named.forEach((named, number) => {
      writers.set(`${rule.index}${number}`, { rule, named });
    });
  }
  return writers;
}

/** Egress rules ask for the set of a named port only beside their pods. */
function writesSets(rule: ResolvedRule, { direction, packet }: PolicyContext): boolean {
  if (podPeers(rule).some(({ members }) => members.length > 0)) return true;
  if (direction === "egress") return false;
  return rule.peers.length === 0 || blockPeers(rule).some(({ cidr }) => cidr.family === packet.source.family);
}

/** With fewer rules no two of them can share a set: `1` and `10`, `11` and `0`. */
const RULES_TO_COLLIDE = 12;

export const namedPortQuirks: readonly Quirk[] = [
  {
    name: "sidecar-ports-unseen",
    summary: "A named port of a sidecar (an init container that restarts) is not found.",
    source: "kube-router policy.go grabNamedPortFromPod: spec.containers only",
    scenario: "kube-router-sidecar-ports-unseen",
    apply: (reading) => ({
      ...reading,
      portsMatch: (context) => {
        const pod = context.ends.destination.pod;
        if (pod === undefined || !context.rule.ports.some(isNamed)) return reading.portsMatch(context);
        const plain = { ...pod, ports: pod.ports.filter(({ container }) => container === "container") };
        return context.rule.ports.some((port) => portMatches(port, context.packet, plain));
      },
    }),
  },
  {
    name: "named-ports-share-addresses",
    summary:
      "The sets of all named ports of a pod are one list, so that a pod which shares one of them is in the sets of the others too.",
    source: "kube-router policy.go:858-887 grabNamedPortFromPod; dumps/kube-router/extra/alias, packets2.txt",
    scenario: "kube-router-named-ports-share-addresses",
    apply: (reading) => ({
      ...reading,
      portsMatch: (context) => {
        if (reading.portsMatch(context)) return true;
        const pod = context.ends.destination.pod;
        if (pod === undefined || !context.rule.ports.some(isNamed)) return false;
        return resolved(context, context.rule).named.some(
          (named) => isTo(context.packet, named) && named.pods.has(pod),
        );
      },
    }),
  },
  {
    name: "named-port-sets-collide",
    summary: "Number 10 of rule 1 and number 0 of rule 11 share a set name; the later one's pods are in it.",
    source: "kube-router policy.go policyIndexedIngressNamedPortIPSetName; dumps/kube-router/extra/hash-index",
    scenario: "kube-router-named-port-sets-collide",
    apply: (reading) => ({
      ...reading,
      portsMatch: (context) => {
        const { policy, direction, rule, packet, ends } = context;
        const written = policy[direction][rule.index];
        const readsSets = direction === "ingress" || rule.peers.length > 0;
        if (written === undefined || !readsSets || policy[direction].length < RULES_TO_COLLIDE) {
          return reading.portsMatch(context);
        }
        const numeric = rule.ports.filter((port) => !isNamed(port));
        if (numeric.some((port) => portMatches(port, packet, ends.destination.pod))) return true;
        if (!rule.ports.some(isNamed)) return reading.portsMatch(context);
        const writers = setWriters(context);
        return resolved(context, written).named.some((named, number) => {
          const writer = writers.get(`${rule.index}${number}`);
          return isTo(packet, named) && writer !== undefined && isInSet(context, writer);
        });
      },
    }),
  },
  {
    name: "egress-named-port-opens-anywhere",
    summary:
      "An egress rule of ports alone resolves their names in the policy's own namespace, and then opens the numbers to every destination.",
    source: "kube-router policy.go:411, 656; dumps/kube-router/named-ports, packets.txt",
    scenario: "kube-router-egress-named-port-opens-anywhere",
    apply: (reading) => ({
      ...reading,
      rules: (context) =>
        reading.rules(context).flatMap((rule) => {
          if (context.direction !== "egress" || rule.peers.length > 0 || !rule.ports.some(isNamed)) return [rule];
          const { numeric, named } = resolved(context, rule);
          const numbers = named.map(
            ({ protocol, port }): PolicyPort => ({ protocol, port, endPort: undefined, source: rule.rule.source }),
          );
          return withPorts(rule, [...numeric, ...numbers]);
        }),
    }),
  },
  {
    name: "egress-named-port-never-in-blocks",
    summary: "A named port of an egress rule opens nothing in the rule's blocks.",
    source: "kube-router policy.go processEgressRules; dumps/kube-router/extra/egress-named-block, packets.txt",
    scenario: "kube-router-egress-named-port-never-in-blocks",
    apply: (reading) => ({
      ...reading,
      rules: (context) =>
        reading.rules(context).flatMap((rule) => {
          const numeric = rule.ports.filter((port) => !isNamed(port));
          if (context.direction !== "egress" || numeric.length === rule.ports.length) return [rule];
          if (blockPeers(rule).length === 0) return [rule];
          const [pods, blocks] = [podPeers(rule), blockPeers(rule)];
          return [
            ...(pods.length > 0 ? [{ ...rule, peers: pods }] : []),
            ...withPorts({ ...rule, peers: blocks }, numeric),
          ];
        }),
    }),
  },
  {
    name: "unresolved-named-port-opens-all",
    summary: "When every port of a rule is a name that resolves to nothing, the rule's pods may use every port.",
    source: "kube-router policy.go:243, 390; dumps/kube-router/named-ports, extra/unresolved, packets.txt",
    scenario: "kube-router-unresolved-named-port-opens-all",
    apply: (reading) => ({
      ...reading,
      rules: (context) =>
        reading.rules(context).flatMap((rule) => {
          if (!rule.ports.some(isNamed) || !podPeers(rule).some(({ members }) => members.length > 0)) return [rule];
          const { numeric, named } = resolved(context, rule);
          if (numeric.length + named.length > 0) return [rule];
          const [pods, blocks] = [podPeers(rule), blockPeers(rule)];
          return [{ ...rule, peers: pods, ports: [] }, ...(blocks.length > 0 ? [{ ...rule, peers: blocks }] : [])];
        }),
    }),
  },
];

/** Whether the destination is in the set that `writer` left. */
function isInSet(context: RuleContext, { named }: SetWriter): boolean {
  const pod = context.ends.destination.pod;
  return pod !== undefined && named.pods.has(pod);
}
