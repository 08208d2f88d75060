/** Where Felix's enforcement differs from the API text. */
import { type Packet, PROTOCOL, protocolName } from "../../../dataplane/packet.ts";
import { deviationsOf, type Quirk } from "../../deviation.ts";
import { directionAllows, type RuleContext, readingVerdict } from "../../policyReading.ts";
import { labelView } from "./calicoLabels.ts";
import { isUnplugged } from "./livePods.ts";

const VXLAN_PORT = 4789;

function isTunnel({ protocol, destinationPort }: Packet): boolean {
  return protocol === PROTOCOL.ipencap || (protocol === PROTOCOL.udp && destinationPort === VXLAN_PORT);
}

/** A named port of the rule that only an init container of the destination declares. */
function initPortMatches({ rule, packet, ends }: RuleContext): boolean {
  const protocol = protocolName(packet.protocol).toUpperCase();
  return rule.ports.some(
    (wanted) =>
      wanted.protocol === protocol &&
      ends.destination.pod?.ports.some(
        ({ container, name, protocol: declared, port }) =>
          container === "init" &&
          name === wanted.port &&
          declared === wanted.protocol &&
          port === packet.destinationPort,
      ),
  );
}

const quirks: readonly Quirk[] = [
  {
    name: "unplugged-pods-are-gone",
    summary:
      "A terminating pod whose network the CNI plugin has taken down (its annotation says so) has no policies and is nobody's peer.",
    source:
      "projectcalico/calico 87c15906 libcalico-go/lib/backend/k8s/conversion/workload_endpoint.go IsFinished; dumps/calico/extra/endpoints",
    scenario: "calico-unplugged-pods-are-gone",
    apply: (reading) => ({
      ...reading,
      policiesOf: (cluster, subject) => (isUnplugged(subject) ? [] : reading.policiesOf(cluster, subject)),
      peersMatch: (context) => {
        const { rule, peer } = context;
        if (rule.peers.length === 0 || peer.pod === undefined || !isUnplugged(peer.pod)) {
          return reading.peersMatch(context);
        }
        const peers = rule.peers.filter(({ kind }) => kind === "ipBlock");
        return peers.length > 0 && reading.peersMatch({ ...context, rule: { ...rule, peers } });
      },
    }),
  },
  {
    name: "init-container-ports",
    summary: "A named port is also looked up on init containers, which have ended when traffic comes.",
    source:
      "projectcalico/calico 87c15906 libcalico-go workload endpoint conversion; dumps/calico/NOTES.md (2.2 named)",
    scenario: "calico-init-container-ports",
    apply: (reading) => ({
      ...reading,
      portsMatch: (context) => reading.portsMatch(context) || initPortMatches(context),
    }),
  },
  {
    name: "tunnels-from-pods-dropped",
    summary: "VXLAN (UDP 4789) and IP-in-IP from a pod are dropped whatever policy says.",
    source:
      "projectcalico/calico 87c15906 felix/rules/endpoints.go (FELIX_ALLOWVXLANPACKETSFROMWORKLOADS, default false)",
    scenario: "calico-tunnels-from-pods-dropped",
    reads: {
      services: [
        { end: "source-pod", protocol: PROTOCOL.ipencap },
        { end: "source-pod", protocol: PROTOCOL.udp, ports: { first: VXLAN_PORT, last: VXLAN_PORT } },
      ],
    },
    apply: (reading) => ({
      ...reading,
      shortcut: (cluster, packet, ends) => {
        const { pod } = ends.source;
        // Only the chain of a pod that Felix knows has the rule.
        const isPoliced = pod !== undefined && pod !== ends.destination.pod && !isUnplugged(pod);
        return isPoliced && isTunnel(packet) ? "drop" : reading.shortcut(cluster, packet, ends);
      },
    }),
  },
  {
    name: "own-node-behind-egress",
    summary: "What a pod sends to its own node passes its egress policies first.",
    source: "projectcalico/calico 87c15906 felix/rules/static.go (cali-wl-to-host); dumps/calico extra/live",
    scenario: "calico-own-node-behind-egress",
    apply: (reading) => ({
      ...reading,
      shortcut: (cluster, packet, ends) => {
        const { source, destination } = ends;
        const early = reading.shortcut(cluster, packet, ends);
        if (early !== "accept" || source.pod === undefined || destination.node !== source.pod.node) return early;
        return directionAllows(reading, { cluster, packet, ends }, "egress") ? "accept" : "drop";
      },
    }),
  },
  // The last: it has all others read the cluster that it sees.
  {
    name: "labels-of-calico",
    summary:
      "Selectors meet labels that Calico gives: `projectcalico.org/namespace`, `orchestrator` and `serviceaccount` of pods, `projectcalico.org/name` of namespaces. A namespace with a label name longer than 58 characters has no labels.",
    source:
      "projectcalico/calico 87c15906 libcalico-go/lib/backend/k8s/conversion/{conversion,workload_endpoint_default}.go, libcalico-go/lib/validator/v3/validator.go validateLabels",
    scenario: "calico-labels-of-calico",
    apply: (reading) => ({
      ...reading,
      shortcut: (cluster, packet, ends) => {
        const view = labelView(cluster);
        return view === cluster
          ? reading.shortcut(cluster, packet, ends)
          : readingVerdict(reading, view, packet, "drop");
      },
    }),
  },
];

export const deviations = deviationsOf(quirks, "drop");
