/**
 * kube-router's network policy controller: a chain for each pod of the node and one for each policy of the cluster, in
 * the filter tables of both families.
 *
 *   FORWARD > KUBE-ROUTER-FORWARD  -d/-s pod > KUBE-POD-FW-x   COMMON: established and pings ACCEPT
 *                                                              > KUBE-NWPLCY-y   a rule of the policy: mark 0x10000
 *                                                              not marked: REJECT, else mark 0x20000
 *                                  > KUBE-NWPLCY-TAIL          marked 0x20000: ACCEPT
 *
 * What is of the node's own, INPUT and OUTPUT, goes the same way. Only `iptables` mode; the controller's nftables mode is
 * another program.
 */
import { type Family, hostCidr } from "../../dataplane/address.ts";
import type { Attachment, Chain, FamilyTables, IPSet, TableProgram } from "../../dataplane/program.ts";
import { podHash } from "../podHash.ts";
import type { ResolvedCluster } from "../resolve.ts";
import { unlabelled } from "../unlabelled.ts";
import { keepingFamilies } from "../update/controller.ts";
import { deviations } from "./kube-router/deviations.ts";
import { lapses } from "./kube-router/lapses.ts";
import { inFamily, LOCAL_PODS_SET, TOP_LEVEL } from "./kube-router/names.ts";
import { type LocalPod, localPods, podChain, topLevelRules } from "./kube-router/pods.ts";
import { lowerPolicies } from "./kube-router/policies.ts";
import { options, readSettings, type Settings } from "./kube-router/settings.ts";
import { builtInChains, commonChain, defaultChain, exemptRules, tailChain } from "./kube-router/topLevel.ts";
import { syncingController } from "./kube-router/update.ts";
import type { LowerOptions, Strategy } from "./strategy.ts";

export const kubeRouter: Strategy = {
  name: "kube-router",
  summary: "kube-router: a chain for each pod and for each policy, marks between them, IP sets of pod addresses",
  sources: [
    "cloudnativelabs/kube-router 7c2c2779 (v2.11.0-1) pkg/controllers/netpol/{npc_iptables,policy,pod,utils,comments}.go",
    "cloudnativelabs/kube-router 7c2c2779 pkg/utils/{ipset,iptables}.go",
  ],
  unsupported: [],
  deviations,
  lapses,
  denyVerdict: "reject",
  options,
  attach,
  follow: (cluster, lowerOptions) =>
    syncingController(cluster, {
      strategy: keepingFamilies(kubeRouter, ["enable-ipv6", "true"]),
      options: lowerOptions,
    }),
  lower(given: ResolvedCluster, lowerOptions: LowerOptions): TableProgram {
    const cluster = unlabelled(given);
    const settings = readSettings(cluster, lowerOptions);
    const lowered = settings.families.map((family) => lowerFamily(cluster, settings, family));
    // Families are restored one after the other, and a failure ends the sync.
    const failed = lowered.findIndex(({ collides }) => collides);
    const synced = (at: number) => failed < 0 || at < failed;
    return {
      kind: "tables",
      strategy: kubeRouter.name,
      node: settings.node,
      sets: joined([...lowered.map(({ localPodsSet }) => localPodsSet), ...lowered.map(({ sets }) => sets)]),
      families: lowered.map(
        ({ family, fixed, perPod }, at): FamilyTables => ({
          family,
          tables: [
            { name: "filter", chains: synced(at) ? joined([fixed("with jumps"), perPod]) : fixed("without jumps") },
          ],
        }),
      ),
      attachment: attach(cluster, lowerOptions),
    };
  },
};

/** Tens of thousands of sets in each state: `concat` copies where spreading goes item by item. */
function joined<T>(lists: readonly (readonly T[])[]): readonly T[] {
  return ([] as T[]).concat(...lists);
}

interface LoweredFamily {
  readonly family: Family;
  readonly sets: readonly IPSet[];
  readonly localPodsSet: readonly IPSet[];
  /** Those that do not depend on pods and policies; before the first sync ends nothing leads to a pod's chain. */
  readonly fixed: (jumps: "with jumps" | "without jumps") => readonly Chain[];
  readonly perPod: readonly Chain[];
  /**
   * Two chains have one name. `iptables-restore` refuses the second declaration, so no sync of this node ever ends: it
   * has its sets, and filters nothing (dumps/kube-router/extra/hash-policy, hash-pod).
   */
  readonly collides: boolean;
}

const BUILT_IN_CHAINS = builtInChains();
const COMMON_CHAINS = { 4: commonChain(4), 6: commonChain(6) } as const satisfies Record<Family, Chain>;
const MARKING_CHAIN = defaultChain();

function lowerFamily(cluster: ResolvedCluster, settings: Settings, family: Family): LoweredFamily {
  const pods = localPods(cluster, settings, family);
  const policies = lowerPolicies(cluster, settings, family);
  const perPod = joined([policies.chains, pods.map((pod) => podChain(cluster, settings, pod))]);
  const podCidrs = cluster.model.nodes.find(({ name }) => name === settings.node)?.podCidrs ?? [];
  const fixed = (jumps: "with jumps" | "without jumps"): readonly Chain[] => [
    ...BUILT_IN_CHAINS,
    COMMON_CHAINS[family],
    MARKING_CHAIN,
    tailChain(settings, podCidrs, family),
    ...(["INPUT", "FORWARD", "OUTPUT"] as const).map(
      (hook): Chain => ({
        name: TOP_LEVEL[hook],
        rules: [
          ...(hook === "INPUT" ? exemptRules(settings, family) : []),
          ...(jumps === "with jumps" ? topLevelRules(hook, pods, settings.version) : []),
        ],
      }),
    ),
  ];
  return {
    family,
    sets: policies.sets,
    localPodsSet: settings.defaultDeny ? [localPodsSet(pods, family)] : [],
    fixed,
    perPod,
    collides: new Set(perPod.map(({ name }) => name)).size < perPod.length,
  };
}

function localPodsSet(pods: readonly LocalPod[], family: Family): IPSet {
  return {
    name: inFamily(LOCAL_PODS_SET, family),
    type: "hash:ip",
    family,
    members: pods.map(({ address }) => ({ kind: "net", cidr: hostCidr(address) })),
    options: { timeoutSeconds: 0 },
  };
}

function attach(cluster: ResolvedCluster, { node }: LowerOptions): Attachment {
  return {
    // The bridge of kube-router's CNI configuration, and the name the dumps' nodes give their interface.
    bridge: "kube-bridge",
    uplink: "eth0",
    pods: cluster.podsOn(node).map((pod) => ({
      endpoint: pod.key,
      addresses: pod.addresses,
      // The bridge plugin takes eight random digits.
      interface: `veth${podHash(pod, 8)}`,
    })),
    remotePodAddresses: [],
    localAddresses: cluster.model.nodes.find(({ name }) => name === node)?.addresses ?? [],
  };
}
