/**
 * What a solution leaves to time or chance, so that our text and that of a synced node cannot agree in it. Nothing else is
 * taken out when the two are compared (test/realDumps), and test/realDumps/leftToChance.test.ts shows each in a recording.
 */

export type ChanceName =
  | "save-headers"
  | "set-creation"
  | "set-order"
  | "calico-link-local"
  | "kube-router-sync-time"
  | "kube-router-pod-order"
  | "kube-router-policy-order"
  | "kube-router-port-numbers"
  | "kube-router-named-port-members"
  | "romana-policy-order"
  | "romana-namespace-uid"
  | "weave-net-rule-order"
  | "weave-net-namespace-order";

export interface LeftToChance {
  /** Undefined: of every solution that programs tables. */
  readonly strategy: string | undefined;
  readonly what: string;
  readonly why: string;
  /** How a comparison goes on all the same. */
  readonly compared: string;
}

export const LEFT_TO_CHANCE: Readonly<Record<ChanceName, LeftToChance>> = {
  "save-headers": {
    strategy: undefined,
    what: "dates and packet counters of `iptables-save`",
    why: "They are of the moment and of the traffic.",
    compared: "left out",
  },
  "set-creation": {
    strategy: undefined,
    what: "`hashsize`, `bucketsize` and `initval` of sets",
    why: "The seed is drawn by the kernel, and a hash that fills unevenly under it is enlarged.",
    compared: "left out",
  },
  "set-order": {
    strategy: undefined,
    what: "the order of sets, and of the members of a hash",
    why: "Sets come as they were created over the life of the node, members as the seeded hash has them.",
    compared: "sorted",
  },
  "calico-link-local": {
    strategy: "calico-iptables",
    what: "the node's `fe80::` addresses in `cali60this-host`",
    why: "They follow from the MAC addresses of the node's interfaces, which no manifest has.",
    compared: "left out",
  },
  "kube-router-sync-time": {
    strategy: "kube-router",
    what: "the names of pod and policy chains",
    why: "The nanosecond at which the sync began is hashed into them.",
    compared:
      "renamed after the pod or policy in their rules; the option `chain-version` takes the number when it is known",
  },
  "kube-router-pod-order": {
    strategy: "kube-router",
    what: "the order of pods in `KUBE-ROUTER-INPUT`, `-FORWARD` and `-OUTPUT`",
    why: "Pods stand in a Go map, whose order is drawn at each sync.",
    compared: "the recorded order is given to ours as `pod-order`",
  },
  "kube-router-policy-order": {
    strategy: "kube-router",
    what: "the order of a pod's jumps to its policies",
    why: "Policies come from an informer's map, whose order is drawn at each sync.",
    compared: "the recorded order is given to ours as `policy-order`",
  },
  "kube-router-port-numbers": {
    strategy: "kube-router",
    what: "the order of the numbers of one named port, and with it the names of their sets",
    why: "Numbers stand in a Go map, and their place is hashed into the name.",
    compared: "sets renamed after what they are for, neighbouring rules sorted",
  },
  "kube-router-named-port-members": {
    strategy: "kube-router",
    what: "which pods are in the set of a named port",
    why: "The first pod visited gives all its port names one list of addresses, and the order of visits is drawn anew for each policy and egress rule, so that one node's sets may have no order in common.",
    compared: "some order of visits must give the recorded members: of a policy's ingress together, of egress each",
  },
  "romana-policy-order": {
    strategy: "romana",
    what: "the order of policies in `ROMANA-FORWARD-IN`",
    why: "The policy cache is a Go map.",
    compared: "the recorded order is given to ours as `policy-order`",
  },
  "romana-namespace-uid": {
    strategy: "romana",
    what: "the names of policies that keep a namespace open, and of their chains and sets",
    why: "They are hashed from the namespace's uid, which the recorded manifests do not have.",
    compared: "renamed after the set of the namespace",
  },
  "weave-net-rule-order": {
    strategy: "weave-net",
    what: "the order of rules in `WEAVE-NPC-INGRESS` and `WEAVE-NPC-EGRESS-CUSTOM`",
    why: "The rules of a policy stand in a Go map.",
    compared: "sorted",
  },
  "weave-net-namespace-order": {
    strategy: "weave-net",
    what: "the order of namespaces in `WEAVE-NPC-DEFAULT`, `WEAVE-NPC-EGRESS-DEFAULT` and lists of sets",
    why: "They come in the order of their events.",
    compared: "sorted",
  },
};
