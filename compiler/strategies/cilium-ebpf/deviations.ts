/** Where Cilium's enforcement differs from the API text. */
import { deviationsOf, type Quirk } from "../../deviation.ts";
import { directionAllows, portMatches } from "../../policyReading.ts";
import { untrackedProtocols } from "../../untrackedProtocols.ts";
import { clusterPort } from "./policyEntries.ts";

const quirks: readonly Quirk[] = [
  untrackedProtocols({
    source: "cilium v1.19.7 bpf/lib/conntrack.h (DROP_CT_UNKNOWN_PROTO)",
    scenario: "cilium-untracked-protocols-dropped",
  }),
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
