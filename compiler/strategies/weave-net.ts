/**
 * weave-net: two flat chains for the whole cluster. Egress rules mark, ingress rules accept, and a pod that no policy
 * selects is in its namespace's default-allow set: isolation is removal from a set.
 *
 *   FORWARD  -i weave -> WEAVE-NPC-EGRESS -> EGRESS-DEFAULT | EGRESS-CUSTOM (mark 0x40000 or fall to DROP)
 *            -o weave -> WEAVE-NPC        -> DEFAULT | INGRESS (ACCEPT or fall to DROP in FORWARD)
 *
 * Egress is policed where the pod is, ingress where the destination is: the bridge port to the other nodes is exempt
 * from each in turn. Only IPv4 is filtered.
 */
import { type Cidr, type IpAddress, parseCidr } from "../../dataplane/address.ts";
import { PROTOCOL } from "../../dataplane/packet.ts";
import type { Attachment, Chain, IPSet, Match, Rule, TableProgram, Target } from "../../dataplane/program.ts";
import type { Endpoint } from "../model.ts";
import { podHash } from "../podHash.ts";
import type { ResolvedCluster } from "../resolve.ts";
import { isMade, type LowerOptions, type Strategy, type StrategyOption, settingOf, switchOf } from "./strategy.ts";
import { latestController } from "./weave-net/checkpoint.ts";
import { EGRESS_MARK, LOG_GROUP, WeaveController } from "./weave-net/controller.ts";
import { deviations } from "./weave-net/deviations.ts";
import { CHAIN } from "./weave-net/kernel.ts";
import { lapses } from "./weave-net/lapses.ts";
import { liveController } from "./weave-net/update.ts";

const BRIDGE = "weave";
const UPLINK = "eth0";
/** The bridge's port to the overlay, and so to the pods of other nodes (`--bridge-port-name`). */
const REMOTE_PORT = "vethwe-bridge";

const options: readonly StrategyOption[] = [
  {
    name: "policy-order",
    default: "uid",
    summary:
      "order in which policies reach the controller, which shows where two of them need one set name: `uid`, `creation` or `name` (as after a restart)",
  },
  ...lapses.map((lapse) => switchOf(lapse, "on")),
];

export const weaveNet: Strategy = {
  name: "weave-net",
  summary: "weave-npc: flat chains for the whole cluster, default-allow sets, IPv4 only",
  sources: [
    "weaveworks/weave 8c847638 npc/{controller,namespace,analyser,rule,selector,ipblock,shortname}.go",
    "weaveworks/weave 8c847638 prog/weave-npc/main.go, net/bridge.go",
  ],
  unsupported: ["ipv6", "named-port", "end-port"],
  deviations,
  lapses,
  denyVerdict: "drop",
  options,
  attach,
  follow: (cluster, lowerOptions) =>
    liveController(cluster, {
      policyOrder: settingOf(weaveNet, lowerOptions, "policy-order"),
      made: (lapse) => isMade(weaveNet, lowerOptions, lapse),
      programOf: (controller, now) =>
        programOf(controller, { node: lowerOptions.node, attachment: attach(now, lowerOptions) }),
      baseRules: () => chains(new WeaveController()),
    }),
  lower(cluster: ResolvedCluster, lowerOptions: LowerOptions): TableProgram {
    const controller = latestController(cluster, settingOf(weaveNet, lowerOptions, "policy-order"));
    return programOf(controller, { node: lowerOptions.node, attachment: attach(cluster, lowerOptions) });
  },
};

function programOf(
  controller: WeaveController,
  { node, attachment }: Pick<TableProgram, "node" | "attachment">,
): TableProgram {
  return {
    kind: "tables",
    strategy: weaveNet.name,
    node,
    sets: [NO_MASQ_LOCAL].concat(controller.sets),
    families: [{ family: 4, tables: [{ name: "filter", chains: chains(controller) }] }],
    attachment,
  };
}

/** Made by the router, not the policy controller; nothing refers to it here. */
const NO_MASQ_LOCAL: IPSet = {
  name: "weaver-no-masq-local",
  type: "hash:net",
  family: 4,
  members: [],
  options: { comment: true },
  origin: "weave router",
};

function attach(cluster: ResolvedCluster, { node }: LowerOptions): Attachment {
  const local = cluster.podsOn(node);
  return {
    bridge: BRIDGE,
    uplink: UPLINK,
    remotePodsPort: REMOTE_PORT,
    pods: local.map((pod) => ({
      endpoint: pod.key,
      addresses: pod.addresses,
      // The real name ends in the first seven digits of the container's id, which no manifest knows.
      interface: `vethwepl${podHash(pod, 7)}`,
    })),
    remotePodAddresses: addressesBeside(cluster.pods, local),
    localAddresses: cluster.model.nodes.find(({ name }) => name === node)?.addresses ?? [],
  };
}

/**
 * Of all pods but the local ones, which come in the same order: asked for in every state, so that pods are told apart without
 * a look at them.
 */
function addressesBeside(pods: readonly Endpoint[], local: readonly Endpoint[]): readonly IpAddress[] {
  const addresses: IpAddress[] = [];
  let next = 0;
  for (const pod of pods) {
    if (pod === local[next]) next++;
    else for (let at = 0; at < pod.addresses.length; at++) addresses.push(pod.addresses[at] as IpAddress);
  }
  return addresses;
}

const always: readonly Match[] = [];
const comment = (text: string): Match => ({ kind: "comment", text });
const bridge = (side: "in" | "out", sense: "is" | "is not" = "is"): Match => ({
  kind: "interface",
  side,
  name: BRIDGE,
  negate: sense === "is not",
});
const isNew: Match = { kind: "ctState", states: ["new"], extension: "state", negate: false };
const isTracked: Match = { kind: "ctState", states: ["related", "established"], extension: "state", negate: false };
const unmarked: Match = { kind: "mark", value: EGRESS_MARK, mask: EGRESS_MARK, negate: true };
const multicast: Match = { kind: "address", side: "destination", cidr: knownCidr("224.0.0.0/4"), negate: false };
const beforeKubeProxy = comment("NOTE: this must go before '-j KUBE-FORWARD'");

const accept: Target = { kind: "accept" };
const drop: Target = { kind: "drop" };
const toReturn: Target = { kind: "return" };
const log: Target = { kind: "log", target: "NFLOG", text: LOG_GROUP };
const jump = (chain: string): Target => ({ kind: "jump", chain });

const rule = (matches: readonly Match[], target: Target): Rule => ({ matches, target });

/*
 * The chains whose rules nothing changes, and the beginning of the one of which events change the end. The same objects in
 * every state of every cluster: nothing that follows looks at them again.
 */

const BUILT_IN_CHAINS: readonly Chain[] = [
  {
    name: "INPUT",
    policy: "accept",
    rules: [
      rule(
        [
          { kind: "address", side: "destination", cidr: knownCidr("127.0.0.1/32"), negate: false },
          { kind: "protocol", protocol: PROTOCOL.tcp, negate: false },
          // --http-addr of launch.sh.
          {
            kind: "ports",
            side: "destination",
            ranges: [{ first: 6784, last: 6784 }],
            extension: "tcp",
            negate: false,
          },
          { kind: "addressType", side: "source", type: "LOCAL", negate: true },
          { kind: "ctState", states: ["related", "established"], extension: "conntrack", negate: true },
          comment("Block non-local access to Weave Net control port"),
        ],
        drop,
      ),
      rule([bridge("in")], jump("WEAVE-NPC-EGRESS")),
    ],
  },
  {
    name: "FORWARD",
    policy: "accept",
    rules: [
      rule([bridge("in"), beforeKubeProxy], jump("WEAVE-NPC-EGRESS")),
      rule([bridge("out"), beforeKubeProxy], jump("WEAVE-NPC")),
      rule([bridge("out"), isNew], log),
      rule([bridge("out")], drop),
      rule([bridge("in"), bridge("out", "is not")], accept),
      rule(
        [bridge("out"), { kind: "ctState", states: ["related", "established"], extension: "conntrack", negate: false }],
        accept,
      ),
    ],
  },
  { name: "OUTPUT", policy: "accept", rules: [] },
];

const INGRESS_CHAIN: Chain = {
  name: "WEAVE-NPC",
  rules: [
    rule([isTracked], accept),
    rule([multicast], accept),
    // Leaving for another node, which polices ingress itself.
    rule([{ kind: "physdev", out: { name: REMOTE_PORT, negate: false }, isBridged: true }], accept),
    rule([isNew], jump("WEAVE-NPC-DEFAULT")),
    rule([isNew], jump("WEAVE-NPC-INGRESS")),
  ],
};

const EGRESS_BEGINNING: readonly Rule[] = [
  rule([isTracked], accept),
  // Come from another node, which has policed egress.
  rule([{ kind: "physdev", in: { name: REMOTE_PORT, negate: false }, isBridged: true }], toReturn),
  rule([{ kind: "addressType", side: "destination", type: "LOCAL", negate: false }], toReturn),
  rule([multicast], toReturn),
  rule([isNew], jump("WEAVE-NPC-EGRESS-DEFAULT")),
  rule([isNew, unmarked], jump("WEAVE-NPC-EGRESS-CUSTOM")),
];

const EGRESS_ACCEPT_CHAIN: Chain = {
  name: "WEAVE-NPC-EGRESS-ACCEPT",
  rules: [rule(always, { kind: "mark", value: EGRESS_MARK, mask: EGRESS_MARK })],
};

function chains({ kernel }: WeaveController): readonly Chain[] {
  return [
    ...BUILT_IN_CHAINS,
    INGRESS_CHAIN,
    { name: "WEAVE-NPC-DEFAULT", rules: kernel.rules(CHAIN.ingressDefault) },
    { name: "WEAVE-NPC-EGRESS", rules: EGRESS_BEGINNING.concat(kernel.rules(CHAIN.egressEnd)) },
    EGRESS_ACCEPT_CHAIN,
    { name: "WEAVE-NPC-EGRESS-CUSTOM", rules: kernel.rules(CHAIN.egress) },
    { name: "WEAVE-NPC-EGRESS-DEFAULT", rules: kernel.rules(CHAIN.egressDefault) },
    { name: "WEAVE-NPC-INGRESS", rules: kernel.rules(CHAIN.ingress) },
  ];
}

function knownCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new Error(`${text} is not a CIDR`);
  return cidr;
}
