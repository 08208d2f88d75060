/** Where Cilium's enforcement differs from the API text. */
import { deviationsOf, type Quirk } from "../../deviation.ts";
import { directionAllows, portMatches, type RuleContext } from "../../policyReading.ts";
import type { ResolvedRule } from "../../resolve.ts";
import { untrackedProtocols } from "../../untrackedProtocols.ts";
import { identityView } from "./identityLabels.ts";
import { clusterPort, ownPort } from "./policyEntries.ts";

/** The rule with the peers that identities give it; undefined where that is the same. */
function ruleInView({ cluster, policy, direction, rule }: RuleContext): ResolvedRule | undefined {
  const view = identityView(cluster);
  if (view === cluster) return undefined;
  const seen = view.policies[cluster.policies.indexOf(policy)]?.[direction][rule.index];
  if (seen === undefined) throw new Error(`${policy.policy.key} has no ${direction} rule ${rule.index} in the view`);
  const originals = new Map(cluster.pods.map((pod) => [pod.key, pod]));
  const peers = seen.peers.map((peer) =>
    peer.kind === "pods" ? { ...peer, members: peer.members.flatMap(({ key }) => originals.get(key) ?? []) } : peer,
  );
  return { ...rule, peers };
}

const quirks: readonly Quirk[] = [
  untrackedProtocols({
    source: "cilium v1.19.7 bpf/lib/conntrack.h (DROP_CT_UNKNOWN_PROTO)",
    scenario: "cilium-untracked-protocols-dropped",
  }),
  {
    name: "policy-types-ignored-by-rules",
    summary: "Rules of a direction that policyTypes leaves out count, and isolate the pod for that direction.",
    source: "cilium v1.19.7 pkg/k8s/network_policy.go ParseNetworkPolicy",
    scenario: "cilium-policy-types-ignored-by-rules",
    apply: (reading) => ({
      ...reading,
      isolates: (context) => reading.isolates(context) || context.policy[context.direction].length > 0,
      counts: () => true,
    }),
  },
  {
    name: "labels-outside-identities",
    summary:
      "Labels that tell replicas apart (pod-template-hash, statefulset.kubernetes.io/pod-name, kubernetes.io/…) are in no identity: selectors see pods without them.",
    source: "cilium v1.19.7 pkg/labelsfilter/filter.go defaultLabelPrefixCfg",
    scenario: "cilium-labels-outside-identities",
    apply: (reading) => ({
      ...reading,
      policiesOf: (cluster, subject) => {
        const view = identityView(cluster);
        if (view === cluster) return reading.policiesOf(cluster, subject);
        return cluster.policies.filter((_policy, index) =>
          view.policies[index]?.subjects.some(({ key }) => key === subject.key),
        );
      },
      peersMatch: (context) => {
        const rule = ruleInView(context);
        return rule === undefined ? reading.peersMatch(context) : reading.peersMatch({ ...context, rule });
      },
    }),
  },
  {
    name: "ip-block-not-for-pods-and-nodes",
    summary:
      "An ipBlock never matches a pod or a node, 0.0.0.0/0 included: their addresses have identities of their own.",
    source: "cilium v1.19.7 pkg/ipcache; cilium#9209, cilium#19601; dumps/cilium/NOTES.md A9",
    scenario: "cilium-ip-block-not-for-pods-and-nodes",
    apply: (reading) => ({
      ...reading,
      peersMatch: (context) => {
        const { rule, peer } = context;
        if (rule.peers.length === 0 || (peer.pod === undefined && peer.node === undefined)) {
          return reading.peersMatch(context);
        }
        const peers = rule.peers.filter(({ kind }) => kind === "pods");
        return peers.length > 0 && reading.peersMatch({ ...context, rule: { ...rule, peers } });
      },
    }),
  },
  {
    name: "one-port-a-name",
    summary:
      "A pod has one port for each name: the last its containers declare, whatever the protocol. Sidecars are not looked at.",
    source: "cilium v1.19.7 pkg/types/portmap.go AddPort, pkg/k8s/labels.go GetPodMetadata",
    scenario: "cilium-one-port-a-name",
    apply: (reading) => ({
      ...reading,
      portsMatch: (context) => {
        const { direction, rule, packet, ends } = context;
        if (direction === "egress" || rule.ports.length === 0) return reading.portsMatch(context);
        const { pod } = ends.destination;
        return rule.ports.some((wanted) => {
          if (typeof wanted.port !== "string") return portMatches(wanted, packet, pod);
          const port = pod === undefined ? undefined : ownPort(pod, wanted.port, wanted.protocol);
          return port !== undefined && portMatches({ ...wanted, port }, packet, undefined);
        });
      },
    }),
  },
  {
    name: "egress-port-names-cluster-wide",
    summary:
      "A named port of an egress rule is one number for the whole cluster: pods that lack the name are opened at it, and two numbers for one name open nothing.",
    source: "cilium v1.19.7 pkg/policy/portmap.go; dumps/cilium/NOTES.md A6",
    scenario: "cilium-egress-port-names-cluster-wide",
    apply: (reading) => ({
      ...reading,
      portsMatch: (context) => {
        const { direction, rule, cluster } = context;
        if (direction === "ingress" || rule.ports.length === 0) return reading.portsMatch(context);
        return rule.ports.some((wanted) => {
          if (typeof wanted.port !== "string") return portMatches(wanted, context.packet, context.ends.destination.pod);
          const port = clusterPort(cluster, wanted.port, wanted.protocol);
          return port !== undefined && portMatches({ ...wanted, port }, context.packet, undefined);
        });
      },
    }),
  },
  {
    name: "own-node-behind-egress",
    summary: "What a pod sends to its own node passes its egress policies, where the node is the identity `host`.",
    source: "cilium v1.19.7 bpf/bpf_lxc.c (egress policy before the host is reached)",
    scenario: "cilium-own-node-behind-egress",
    apply: (reading) => ({
      ...reading,
      shortcut: (cluster, packet, ends) => {
        const early = reading.shortcut(cluster, packet, ends);
        const { source, destination } = ends;
        if (early !== "accept" || source.pod === undefined || destination.node !== source.pod.node) return early;
        return directionAllows(reading, { cluster, packet, ends }, "egress") ? "accept" : "drop";
      },
    }),
  },
];

export const deviations = deviationsOf(quirks, "drop");
