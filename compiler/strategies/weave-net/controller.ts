/**
 * weave-npc, event by event: namespaces, pods and policies come, change and go, and each event leads to some commands.
 * It is played rather than computed because its mistakes are made event by event: a policy that fails half way leaves
 * what it had done, and what was never counted is never uncounted.
 *
 * Sets and rules have users, and live while they have any. Isolation is removal from a namespace's default-allow set,
 * for each selector that is the target of a policy; how many policies make it one is counted by key and direction.
 *
 * Source: weave npc/controller.go, npc/namespace.go, npc/selector.go; dumps of weave 8c847638, dumps/updates/weave-net.
 */
import { formatCidr, hostCidr, type IpAddress } from "../../../dataplane/address.ts";
import type { IPSet, IPSetMember, Rule, Target } from "../../../dataplane/program.ts";
import {
  DIRECTIONS,
  type Direction,
  type Endpoint,
  isOnPodNetwork,
  type Namespace,
  type NetworkPolicy,
} from "../../model.ts";
import type { Lapse } from "../strategy.ts";
import { type Analysis, analysePolicy, type ExceptSpec, type RuleSpec } from "./analyse.ts";
import { CHAIN, type CommandSink, IpsetError, isTaken, NameTakenError, WeaveKernel } from "./kernel.ts";
import { NAMESPACE_LABELS_UNSEEN, PEER_BECOMES_TARGET, POLICY_TYPES_UNSEEN, REFUSED_VERSION_STAYS } from "./lapses.ts";
import { type SelectorSpec, selectorSpec, selectsNamespace, selectsPod, setName } from "./selector.ts";
import { isFirstUser, isNew, leaving, release, type Shared } from "./users.ts";

/** Where a policy stopped being carried out, in weave-npc's order of work. */
export type PolicyOutcome =
  | { readonly kind: "complete" }
  /** Nothing of it is in force: its pods are not even isolated. */
  | { readonly kind: "rejected"; readonly cause: "named port" | Stop; readonly why: string }
  /** Its pods are isolated, but only the first `ruleCount` of its rules are in force. */
  | { readonly kind: "partial"; readonly cause: Stop; readonly why: string; readonly ruleCount: number };

/** Another set has the name of one that is needed, or ipset or iptables refuses an address. */
export type Stop = "name taken" | "refused";

function stopOf(error: IpsetError): Stop {
  return error instanceof NameTakenError ? "name taken" : "refused";
}

/** Go's "assignment to entry in nil map": the process ends where it is. */
export class WeavePanic extends Error {}

interface NamespaceState {
  namespace: Namespace;
  readonly pods: Map<string, Endpoint>;
  readonly allPods: SelectorSpec;
  readonly defaultAllow: Readonly<Record<Direction, string>>;
  readonly podSelectors: Map<string, Shared<SelectorSpec>>;
  /** How many policies have the selector as their target; absent: it never was one. May go below zero. */
  readonly targets: Map<string, Partial<Record<Direction, number>>>;
  readonly excepts: Map<string, Shared<ExceptSpec>>;
  readonly rules: Map<string, Shared<RuleSpec>>;
}

type Pods = readonly Endpoint[];

/** Stands for a namespace among the users of its all-pods set. */
const ITSELF = "";

let nothing: Analysis | undefined;

/** Where a policy was not, or is no more: made when it is first needed, since its target has a name to be hashed. */
function noAnalysis(): Analysis {
  nothing ??= {
    rejectedPort: undefined,
    target: selectorSpec("", undefined, undefined),
    namespaceSelectors: new Map(),
    podSelectors: new Map(),
    namespacedPodSelectors: new Map(),
    excepts: new Map(),
    rules: new Map(),
  };
  return nothing;
}

export class WeaveController {
  readonly kernel: WeaveKernel;
  readonly #namespaces = new Map<string, NamespaceState>();
  readonly #namespaceSelectors = new Map<string, Shared<SelectorSpec>>();
  readonly #namespacedPodSelectors = new Map<string, Shared<SelectorSpec>>();
  readonly #outcomes = new Map<string, PolicyOutcome>();

  readonly #made: (lapse: Lapse) => boolean;

  /** `made`: which mistakes it makes; all of them unless said otherwise. */
  constructor(sink?: CommandSink, made: (lapse: Lapse) => boolean = () => true) {
    this.kernel = new WeaveKernel(sink);
    this.#made = made;
  }

  get sets(): readonly IPSet[] {
    return this.kernel.sets;
  }

  /** Whether the DROP at the end of the egress chain is there: from the first policy with egress on. */
  get egressDrop(): boolean {
    return this.kernel.hasEgressEnd;
  }

  outcome(policy: NetworkPolicy): PolicyOutcome {
    const outcome = this.#outcomes.get(policy.key);
    if (outcome === undefined) throw new Error(`policy ${policy.key} was never announced`);
    return outcome;
  }

  /* ---------------------------------------------- Namespaces ----------------------------------------------------- */

  addNamespace(namespace: Namespace): void {
    const { name } = namespace;
    const state: NamespaceState = {
      namespace,
      pods: new Map(),
      allPods: selectorSpec(name, { matchLabels: [], matchExpressions: [] }, undefined),
      defaultAllow: {
        ingress: setName(`ingress-default-allow:${name}`),
        egress: setName(`egress-default-allow:${name}`),
      },
      podSelectors: new Map(),
      targets: new Map(),
      excepts: new Map(),
      rules: new Map(),
    };
    this.#namespaces.set(name, state);
    const origin = `namespace ${name}`;
    this.kernel.create(state.defaultAllow.ingress, "hash:ip", origin);
    this.kernel.create(state.defaultAllow.egress, "hash:ip", origin);
    this.kernel.create(state.allPods.set, "hash:ip", origin);
    state.podSelectors.set(state.allPods.key, { spec: state.allPods, users: new Set([ITSELF]) });
    for (const [chain, rule] of defaultRules(state)) this.kernel.append(chain, rule);
    for (const { spec } of this.#namespaceSelectors.values()) {
      if (selectsNamespace(spec, namespace)) this.kernel.add(spec.set, listMember(state), name);
    }
  }

  /** Only the lists of namespaces follow a change of labels; sets of pods in namespaces do not. */
  updateNamespace(before: Namespace, after: Namespace): void {
    const state = this.#stateOf(after.name);
    state.namespace = after;
    for (const { spec } of this.#namespaceSelectors.values()) {
      const [was, is] = [selectsNamespace(spec, before), selectsNamespace(spec, after)];
      if (was && !is) this.kernel.delete(spec.set, listMember(state), after.name);
      if (!was && is) this.kernel.add(spec.set, listMember(state), after.name);
    }
    if (this.#made(NAMESPACE_LABELS_UNSEEN)) return;
    for (const { spec } of this.#namespacedPodSelectors.values()) {
      for (const pod of state.pods.values()) {
        const [was, is] = [selectsPod(spec, pod, before.labels), selectsPod(spec, pod, after.labels)];
        if (was && !is) this.#delete(spec.set, pod);
        if (!was && is) this.#add(spec.set, pod);
      }
    }
  }

  deleteNamespace(namespace: Namespace): void {
    const state = this.#stateOf(namespace.name);
    for (const [chain, rule] of defaultRules(state)) this.kernel.remove(chain, rule);
    for (const { spec } of this.#namespaceSelectors.values()) {
      if (selectsNamespace(spec, namespace)) this.kernel.delete(spec.set, listMember(state), namespace.name);
    }
    for (const set of [state.defaultAllow.ingress, state.defaultAllow.egress, state.allPods.set])
      this.kernel.destroy(set);
    this.#namespaces.delete(namespace.name);
  }

  /* ------------------------------------------------- Pods -------------------------------------------------------- */

  addPod(pod: Endpoint): void {
    const state = this.#stateOf(pod.namespace);
    state.pods.set(pod.key, pod);
    for (const { spec } of state.podSelectors.values()) if (selects(spec, pod, state)) this.#add(spec.set, pod);
    for (const direction of DIRECTIONS) {
      if (!isTarget(state, pod, direction)) this.#add(state.defaultAllow[direction], pod);
    }
    for (const { spec } of this.#namespacedPodSelectors.values())
      if (selects(spec, pod, state)) this.#add(spec.set, pod);
  }

  updatePod(before: Endpoint, after: Endpoint): void {
    const [was, is] = [isOnPodNetwork(before), isOnPodNetwork(after)];
    if (!was && is) this.addPod(after);
    if (was && !is) this.#removePod(before, "combined sets first");
    if (was && is) this.#relabelPod(before, after);
  }

  deletePod(pod: Endpoint): void {
    if (isOnPodNetwork(pod)) this.#removePod(pod, "combined sets last");
  }

  /**
   * Other pods, as if these had been there from the start: for a controller to which namespaces, pods and policies were
   * announced, once each, and nothing has happened since. Sets take every pod that was or is there. `all`: every pod there
   * is now; undefined: each that comes is in the place of one that goes, under its key.
   */
  replacePods({ gone, come, all }: { readonly gone: Pods; readonly come: Pods; readonly all: Pods | undefined }): void {
    const changed = [...gone, ...come];
    const touched = new Set(changed.map(({ namespace }) => this.#stateOf(namespace)));
    if (all === undefined) for (const pod of come) this.#stateOf(pod.namespace).pods.set(pod.key, pod);
    else {
      for (const { pods } of touched) pods.clear();
      const names = new Set(changed.map(({ namespace }) => namespace));
      for (const pod of all) {
        if (names.has(pod.namespace)) this.#stateOf(pod.namespace).pods.set(pod.key, pod);
      }
    }
    for (const state of touched) {
      const own = changed.filter(({ namespace }) => namespace === state.namespace.name);
      for (const { spec } of state.podSelectors.values()) {
        if (own.some((pod) => selects(spec, pod, state))) this.#refill(spec, [state]);
      }
      this.#refillDefaults(state, new Set(own));
    }
    for (const { spec } of this.#namespacedPodSelectors.values()) {
      if (changed.some((pod) => selects(spec, pod, this.#stateOf(pod.namespace)))) {
        this.#refill(spec, this.#namespaces.values());
      }
    }
  }

  #refill(spec: SelectorSpec, states: Iterable<NamespaceState>): void {
    this.kernel.empty(spec.set);
    for (const state of states) {
      if (spec.namespaceSelector !== undefined && !selectsNamespace(spec, state.namespace)) continue;
      for (const pod of state.pods.values()) if (selects(spec, pod, state)) this.#add(spec.set, pod);
    }
  }

  /** Pods are announced before policies: all of them come in, then each target takes its own out. */
  #refillDefaults(state: NamespaceState, changed: ReadonlySet<Endpoint>): void {
    for (const direction of DIRECTIONS) {
      const set = state.defaultAllow[direction];
      const allowed = this.kernel.usersOf(set);
      this.kernel.empty(set);
      for (const pod of state.pods.values()) this.#add(set, pod);
      for (const pod of state.pods.values()) {
        const isOut = changed.has(pod) ? isTarget(state, pod, direction) : !allowed.has(pod.key);
        if (isOut) this.#delete(set, pod);
      }
    }
  }

  #removePod(pod: Endpoint, order: "combined sets first" | "combined sets last"): void {
    const state = this.#stateOf(pod.namespace);
    state.pods.delete(pod.key);
    for (const direction of DIRECTIONS) this.#delete(state.defaultAllow[direction], pod);
    const combined = () => {
      for (const { spec } of this.#namespacedPodSelectors.values()) {
        if (selects(spec, pod, state)) this.#delete(spec.set, pod);
      }
    };
    if (order === "combined sets first") combined();
    for (const { spec } of state.podSelectors.values()) if (selects(spec, pod, state)) this.#delete(spec.set, pod);
    if (order === "combined sets last") combined();
  }

  #relabelPod(before: Endpoint, after: Endpoint): void {
    const state = this.#stateOf(after.namespace);
    state.pods.set(after.key, after);
    const follow = ({ set }: SelectorSpec, was: boolean, is: boolean) => {
      if (was && !is) this.#delete(set, before);
      if (!was && is) this.#add(set, after);
      return was !== is;
    };
    for (const { spec } of state.podSelectors.values()) {
      const is = selects(spec, after, state);
      if (!follow(spec, selects(spec, before, state), is)) continue;
      for (const direction of DIRECTIONS) {
        if ((state.targets.get(spec.key)?.[direction] ?? 0) <= 0) continue;
        if (is) this.#delete(state.defaultAllow[direction], after);
        else if (!isTarget(state, after, direction)) this.#add(state.defaultAllow[direction], after);
      }
    }
    for (const { spec } of this.#namespacedPodSelectors.values()) {
      follow(spec, selects(spec, before, state), selects(spec, after, state));
    }
  }

  /* ----------------------------------------------- Policies ------------------------------------------------------ */

  addPolicy(policy: NetworkPolicy): void {
    this.#refuseEgress(policy);
    const analysis = analysePolicy(policy);
    this.#outcomes.set(policy.key, this.#provision(policy, noAnalysis(), analysis));
  }

  /** Only with the first policy that has egress. */
  #refuseEgress({ types, egress }: NetworkPolicy): void {
    if (this.egressDrop || !(types.includes("egress") || egress.length > 0)) return;
    for (const rule of EGRESS_END) this.kernel.append(CHAIN.egressEnd, rule);
  }

  /** Both versions are analysed: when one has a named port, nothing is done. */
  updatePolicy(before: NetworkPolicy, after: NetworkPolicy): void {
    const [current, desired] = [analysePolicy(before), analysePolicy(after)];
    if (current.rejectedPort !== undefined || desired.rejectedPort !== undefined) {
      if (this.#made(REFUSED_VERSION_STAYS)) return;
      if (current.rejectedPort === undefined) this.deletePolicy(before);
      else if (desired.rejectedPort === undefined) this.addPolicy(after);
      return;
    }
    this.#deprovision(before, current, desired);
    this.#provision(after, current, desired);
    if (current.target.key !== desired.target.key || this.#made(POLICY_TYPES_UNSEEN)) return;
    this.#refuseEgress(after);
    const state = this.#stateOf(after.namespace);
    const only = (types: NetworkPolicy["types"], than: NetworkPolicy["types"]) =>
      types.filter((type) => !than.includes(type));
    this.#beginTarget(only(after.types, before.types), state, desired.target);
    this.#endTarget(only(before.types, after.types), state, desired.target);
  }

  deletePolicy(policy: NetworkPolicy): void {
    const current = analysePolicy(policy);
    if (current.rejectedPort === undefined) this.#deprovision(policy, current, noAnalysis());
  }

  /** What the policy no longer needs, rules first: permissions end before isolation does. */
  #deprovision(policy: NetworkPolicy, current: Analysis, desired: Analysis): void {
    const state = this.#stateOf(policy.namespace);
    const user = policy.key;
    for (const spec of leaving(current.rules, desired.rules)) {
      release(state.rules, spec, user, () => {
        for (const rule of rulesOf(spec)) this.kernel.remove(CHAIN[spec.direction], rule);
      });
    }
    const destroyed = (spec: { readonly set: string }) => this.kernel.destroy(spec.set);
    for (const spec of leaving(current.namespaceSelectors, desired.namespaceSelectors)) {
      release(this.#namespaceSelectors, spec, user, destroyed);
    }
    for (const spec of leaving(current.podSelectors, desired.podSelectors)) {
      release(state.podSelectors, spec, user, destroyed);
      if (spec === current.target) this.#endTarget(policy.types, state, spec);
    }
    const stays = desired.podSelectors.has(current.target.key) && desired.target.key !== current.target.key;
    if (stays && !this.#made(PEER_BECOMES_TARGET)) this.#endTarget(policy.types, state, current.target);
    for (const spec of leaving(current.namespacedPodSelectors, desired.namespacedPodSelectors)) {
      release(this.#namespacedPodSelectors, spec, user, destroyed);
    }
    for (const spec of leaving(current.excepts, desired.excepts)) release(state.excepts, spec, user, destroyed);
  }

  #endTarget(types: NetworkPolicy["types"], state: NamespaceState, spec: SelectorSpec): void {
    const counts = state.targets.get(spec.key);
    for (const direction of types) {
      if (counts === undefined) throw new WeavePanic("assignment to entry in nil map");
      counts[direction] = (counts[direction] ?? 0) - 1;
      if (counts[direction] !== 0) continue;
      for (const pod of state.pods.values()) {
        if (selects(spec, pod, state) && !isTarget(state, pod, direction))
          this.#add(state.defaultAllow[direction], pod);
      }
    }
  }

  /** Sets of namespaces, of pods, of pods in namespaces, excepts, rules: the order decides what a failure leaves. */
  #provision(policy: NetworkPolicy, current: Analysis, desired: Analysis): PolicyOutcome {
    if (desired.rejectedPort !== undefined) {
      return { kind: "rejected", cause: "named port", why: `named port ${desired.rejectedPort}` };
    }
    const state = this.#stateOf(policy.namespace);
    let isolated = false;
    try {
      for (const spec of leaving(desired.namespaceSelectors, current.namespaceSelectors)) {
        this.#provisionNamespaces(spec, policy.key);
      }
      this.#provisionPods(policy, state, {
        current,
        desired,
        begun: () => {
          isolated = true;
        },
      });
      for (const spec of leaving(desired.namespacedPodSelectors, current.namespacedPodSelectors)) {
        this.#provisionNamespacedPods(spec, policy.key);
      }
      for (const spec of leaving(desired.excepts, current.excepts)) this.#provisionExcepts(state, spec, policy.key);
    } catch (error) {
      if (!(error instanceof IpsetError)) throw error;
      const stop = { cause: stopOf(error), why: error.message };
      return isolated ? { kind: "partial", ...stop, ruleCount: 0 } : { kind: "rejected", ...stop };
    }
    let ruleCount = 0;
    for (const spec of leaving(desired.rules, current.rules)) {
      if (spec.refused !== undefined) {
        const why = `iptables refuses ${formatCidr(spec.refused)}`;
        return { kind: "partial", cause: "refused", why, ruleCount };
      }
      try {
        if (isFirstUser(state.rules, spec, policy.key)) {
          for (const rule of rulesOf(spec)) this.kernel.append(CHAIN[spec.direction], rule);
        }
      } catch (error) {
        if (!(error instanceof IpsetError)) throw error;
        return { kind: "partial", cause: stopOf(error), why: error.message, ruleCount };
      }
      ruleCount++;
    }
    return { kind: "complete" };
  }

  #provisionNamespaces(spec: SelectorSpec, user: string): void {
    if (!isNew(this.#namespaceSelectors, spec, user)) return;
    this.kernel.create(spec.set, "list:set", user);
    for (const state of this.#namespaces.values()) {
      if (selectsNamespace(spec, state.namespace)) this.kernel.add(spec.set, listMember(state), state.namespace.name);
    }
    isFirstUser(this.#namespaceSelectors, spec, user);
  }

  /** A selector that was there as a peer and becomes the target is not new, and so never becomes one. */
  #provisionPods(
    policy: NetworkPolicy,
    state: NamespaceState,
    { current, desired, begun }: { readonly current: Analysis; readonly desired: Analysis; begun(): void },
  ): void {
    for (const spec of leaving(desired.podSelectors, current.podSelectors)) {
      if (isNew(state.podSelectors, spec, policy.key)) {
        this.kernel.create(spec.set, "hash:ip", policy.key);
        for (const pod of state.pods.values()) if (selects(spec, pod, state)) this.#add(spec.set, pod);
        isFirstUser(state.podSelectors, spec, policy.key);
      }
      if (spec !== desired.target) continue;
      this.#beginTarget(policy.types, state, spec);
      begun();
    }
    const was = current.podSelectors.has(desired.target.key) && desired.target.key !== current.target.key;
    if (was && !this.#made(PEER_BECOMES_TARGET)) this.#beginTarget(policy.types, state, desired.target);
  }

  #beginTarget(types: NetworkPolicy["types"], state: NamespaceState, spec: SelectorSpec): void {
    const counts = state.targets.get(spec.key) ?? {};
    state.targets.set(spec.key, counts);
    for (const direction of types) {
      counts[direction] = (counts[direction] ?? 0) + 1;
      if (counts[direction] !== 1) continue;
      for (const pod of state.pods.values()) {
        if (selects(spec, pod, state)) this.#delete(state.defaultAllow[direction], pod);
      }
    }
  }

  #provisionNamespacedPods(spec: SelectorSpec, user: string): void {
    if (!isNew(this.#namespacedPodSelectors, spec, user)) return;
    this.kernel.create(spec.set, "hash:ip", user);
    for (const state of this.#namespaces.values()) {
      for (const pod of state.pods.values()) if (selects(spec, pod, state)) this.#add(spec.set, pod);
    }
    isFirstUser(this.#namespacedPodSelectors, spec, user);
  }

  #provisionExcepts(state: NamespaceState, spec: ExceptSpec, user: string): void {
    if (!isNew(state.excepts, spec, user)) return;
    this.kernel.create(spec.set, "hash:net", user);
    const added = new Map<string, string>();
    for (const { text, cidr } of spec.except) {
      if (added.has(text)) continue; // the controller counts users by text and adds once
      if (cidr.family !== 4) throw new IpsetError(`${text} is no IPv4 block`);
      const element = formatCidr(cidr);
      if ([...added.values()].includes(element)) throw new IpsetError(`${text} is in ${spec.set} already`);
      added.set(text, element);
      this.kernel.add(spec.set, { kind: "net", cidr, comment: spec.comment }, text);
    }
    isFirstUser(state.excepts, spec, user);
  }

  #add(set: string, pod: Endpoint): void {
    this.kernel.add(set, podMember(pod), pod.key);
  }

  #delete(set: string, pod: Endpoint): void {
    this.kernel.delete(set, podMember(pod), pod.key);
  }

  #stateOf(namespace: string): NamespaceState {
    const state = this.#namespaces.get(namespace);
    if (state === undefined) throw new Error(`namespace ${namespace} was never announced`);
    return state;
  }
}

function selects(spec: SelectorSpec, pod: Endpoint, { namespace }: NamespaceState): boolean {
  return selectsPod(spec, pod, namespace.labels);
}

/** Whether a policy isolates the pod in the direction, as far as was counted. */
function isTarget(state: NamespaceState, pod: Endpoint, direction: Direction): boolean {
  return [...state.targets].some(([key, counts]) => {
    const spec = state.podSelectors.get(key)?.spec;
    return spec !== undefined && (counts[direction] ?? 0) > 0 && selects(spec, pod, state);
  });
}

function listMember({ namespace, allPods }: NamespaceState): IPSetMember {
  return { kind: "set", set: allPods.set, comment: `namespace: ${namespace.name}` };
}

/** The chain that marks a packet as allowed to leave. */
export const ACCEPT_EGRESS = { kind: "jump", chain: "WEAVE-NPC-EGRESS-ACCEPT" } as const;

function rulesOf({ matches, direction, origin }: RuleSpec): readonly Rule[] {
  const targets: readonly Target[] =
    direction === "ingress" ? [{ kind: "accept" }] : [ACCEPT_EGRESS, { kind: "return" }];
  return targets.map((target) => ({ matches, target, origin }));
}

function defaultRules({ namespace: { name }, defaultAllow }: NamespaceState) {
  const origin = `namespace ${name}`;
  const matches = (direction: Direction): Rule["matches"] => [
    {
      kind: "set",
      set: defaultAllow[direction],
      sides: [direction === "ingress" ? "destination" : "source"],
      negate: false,
    },
    { kind: "comment", text: `DefaultAllow ${direction} isolation for namespace: ${name}` },
  ];
  return [
    [CHAIN.ingressDefault, { matches: matches("ingress"), target: { kind: "accept" }, origin }],
    [CHAIN.egressDefault, { matches: matches("egress"), target: ACCEPT_EGRESS, origin }],
    [CHAIN.egressDefault, { matches: matches("egress"), target: { kind: "return" }, origin }],
  ] as const satisfies readonly (readonly [string, Rule])[];
}

/** `EgressMark` of npc/constants.go. */
export const EGRESS_MARK = 0x40000;
/** NFLOG group that weave's own logger listens to. */
export const LOG_GROUP = "--nflog-group 86";

/** The end of the egress chain, from the first policy with egress on. */
const EGRESS_END: readonly Rule[] = [
  {
    matches: [
      { kind: "ctState", states: ["new"], extension: "state", negate: false },
      { kind: "mark", value: EGRESS_MARK, mask: EGRESS_MARK, negate: true },
    ],
    target: { kind: "log", target: "NFLOG", text: LOG_GROUP },
  },
  { matches: [{ kind: "mark", value: EGRESS_MARK, mask: EGRESS_MARK, negate: true }], target: { kind: "drop" } },
];

/** weave knows a pod by `status.podIP` alone, and only as IPv4; what `ipset add` refuses is in no set. */
export function hasWeaveAddress(pod: Endpoint): boolean {
  return pod.addresses.length > 0 && isTaken(podMember(pod));
}

function podMember(pod: Endpoint): IPSetMember {
  return {
    kind: "net",
    cidr: hostCidr(primaryAddress(pod)),
    comment: `namespace: ${pod.namespace}, pod: ${pod.name}`,
  };
}

function primaryAddress(pod: Endpoint): IpAddress {
  const address = pod.addresses[0];
  if (address === undefined) throw new Error(`pod ${pod.key} has no address`);
  return address;
}
