/**
 * The state that weave-npc has brought about once every namespace, then every pod, then every policy has been announced
 * to it: its sets and the rules of its chains. The controller is played event by event, because its mistakes are made
 * event by event: a policy that fails half way leaves what it had done.
 *
 * Source: weave npc/controller.go, npc/namespace.go, npc/selector.go; dumps of weave 8c847638.
 */
import { type Cidr, formatCidr, hostCidr, type IpAddress } from "../../../dataplane/address.ts";
import type { IPSet, IPSetMember, Rule } from "../../../dataplane/program.ts";
import type { Direction, Endpoint, Namespace, NetworkPolicy } from "../../model.ts";
import { type Analysis, analysePolicy, type ExceptSpec, type RuleSpec } from "./analyse.ts";
import { type SelectorSpec, selectorSpec, selectsNamespace, selectsPod, setName } from "./selector.ts";

/** Where a policy stopped being carried out, in weave-npc's order of work. */
export type PolicyOutcome =
  | { readonly kind: "complete" }
  /** Nothing of it is in force: its pods are not even isolated. */
  | { readonly kind: "rejected"; readonly why: string }
  /** Its pods are isolated, but only the first `ruleCount` of its rules are in force. */
  | { readonly kind: "partial"; readonly why: string; readonly ruleCount: number };

interface SetState {
  readonly name: string;
  readonly type: IPSet["type"];
  readonly origin: string;
  /** By the text of the element: the kernel has each once. */
  readonly members: Map<string, IPSetMember>;
}

interface NamespaceState {
  readonly namespace: Namespace;
  readonly pods: Endpoint[];
  readonly allPods: SelectorSpec;
  readonly defaultAllow: Readonly<Record<Direction, string>>;
  readonly podSelectors: Map<string, SelectorSpec>;
  /** Keys of selectors that are targets, by direction. */
  readonly targets: Readonly<Record<Direction, Set<string>>>;
  readonly excepts: Set<string>;
  readonly rules: Set<string>;
}

/** ipset says "already exists", or a value is not of the set's family: weave-npc gives up on the policy there. */
class IpsetError extends Error {}

export class WeaveController {
  readonly #sets = new Map<string, SetState>();
  readonly #namespaces = new Map<string, NamespaceState>();
  readonly #namespaceSelectors = new Map<string, SelectorSpec>();
  readonly #namespacedPodSelectors = new Map<string, SelectorSpec>();
  readonly #outcomes = new Map<string, PolicyOutcome>();
  readonly defaultRules: Record<Direction, Rule[]> = { ingress: [], egress: [] };
  readonly policyRules: Record<Direction, Rule[]> = { ingress: [], egress: [] };
  /** Whether the DROP at the end of the egress chain is there: from the first policy with egress on. */
  egressDrop = false;

  constructor() {
    // Made by the router, not the policy controller; nothing refers to it here.
    this.#createSet("weaver-no-masq-local", "hash:net", "weave router");
  }

  get sets(): readonly IPSet[] {
    return [...this.#sets.values()].map(({ name, type, origin, members }) => ({
      name,
      type,
      family: 4,
      members: [...members.values()],
      // --max-list-size of launch.sh; comments are on wherever ipset has them.
      options: type === "list:set" ? { size: 1024, comment: true } : { comment: true },
      origin,
    }));
  }

  outcome(policy: NetworkPolicy): PolicyOutcome {
    const outcome = this.#outcomes.get(policy.key);
    if (outcome === undefined) throw new Error(`policy ${policy.key} was never announced`);
    return outcome;
  }

  /** Whether the address is in the set, directly or through a set in it. */
  contains(set: string, address: Cidr): boolean {
    const { members } = this.#setNamed(set);
    if (members.has(formatCidr(address))) return true;
    return [...members.values()].some((member) => member.kind === "set" && this.contains(member.set, address));
  }

  addNamespace(namespace: Namespace): void {
    const { name } = namespace;
    const state: NamespaceState = {
      namespace,
      pods: [],
      allPods: selectorSpec(name, { matchLabels: [], matchExpressions: [] }, undefined),
      defaultAllow: {
        ingress: setName(`ingress-default-allow:${name}`),
        egress: setName(`egress-default-allow:${name}`),
      },
      podSelectors: new Map(),
      targets: { ingress: new Set(), egress: new Set() },
      excepts: new Set(),
      rules: new Set(),
    };
    this.#namespaces.set(name, state);
    const origin = `namespace ${name}`;
    this.#createSet(state.defaultAllow.ingress, "hash:ip", origin);
    this.#createSet(state.defaultAllow.egress, "hash:ip", origin);
    this.#createSet(state.allPods.set, "hash:ip", origin);
    state.podSelectors.set(state.allPods.key, state.allPods);

    const comment = (direction: Direction) => ({
      kind: "comment" as const,
      text: `DefaultAllow ${direction} isolation for namespace: ${name}`,
    });
    const inSet = (direction: Direction) => ({
      kind: "set" as const,
      set: state.defaultAllow[direction],
      sides: [direction === "ingress" ? ("destination" as const) : ("source" as const)],
      negate: false,
    });
    this.defaultRules.ingress.push({
      matches: [inSet("ingress"), comment("ingress")],
      target: { kind: "accept" },
      origin,
    });
    this.defaultRules.egress.push(
      { matches: [inSet("egress"), comment("egress")], target: ACCEPT_EGRESS, origin },
      { matches: [inSet("egress"), comment("egress")], target: { kind: "return" }, origin },
    );
  }

  addPod(pod: Endpoint): void {
    const state = this.#stateOf(pod.namespace);
    state.pods.push(pod);
    for (const set of [state.allPods.set, state.defaultAllow.ingress, state.defaultAllow.egress])
      this.#addPod(set, pod);
  }

  addPolicy(policy: NetworkPolicy): void {
    if (policy.types.includes("egress") || policy.egress.length > 0) this.egressDrop = true;
    const state = this.#stateOf(policy.namespace);
    const analysis = analysePolicy(policy);
    this.#outcomes.set(policy.key, this.#provision(policy, state, analysis));
  }

  /** Sets of namespaces, of pods, of pods in namespaces, excepts, rules: the order decides what a failure leaves. */
  #provision(policy: NetworkPolicy, state: NamespaceState, analysis: Analysis): PolicyOutcome {
    if (analysis.rejectedPort !== undefined) {
      return { kind: "rejected", why: `named port ${analysis.rejectedPort}` };
    }
    let isolated = false;
    try {
      for (const spec of analysis.namespaceSelectors.values()) this.#provisionNamespaces(spec, policy.key);
      this.#provisionPods(state, analysis, policy);
      isolated = true;
      for (const spec of analysis.namespacedPodSelectors.values()) this.#provisionNamespacedPods(spec, policy.key);
      for (const spec of analysis.excepts.values()) this.#provisionExcepts(state, spec, policy.key);
    } catch (error) {
      if (!(error instanceof IpsetError)) throw error;
      return isolated
        ? { kind: "partial", why: error.message, ruleCount: 0 }
        : { kind: "rejected", why: error.message };
    }
    let ruleCount = 0;
    for (const spec of analysis.rules.values()) {
      if (spec.refused !== undefined) {
        return { kind: "partial", why: `iptables refuses ${formatCidr(spec.refused)}`, ruleCount };
      }
      if (!state.rules.has(spec.key)) this.#appendRule(spec);
      state.rules.add(spec.key);
      ruleCount++;
    }
    return { kind: "complete" };
  }

  #provisionNamespaces(spec: SelectorSpec, origin: string): void {
    if (this.#namespaceSelectors.has(spec.key)) return;
    this.#createSet(spec.set, "list:set", origin);
    for (const { namespace, allPods } of this.#namespaces.values()) {
      if (!selectsNamespace(spec, namespace)) continue;
      this.#setNamed(spec.set).members.set(allPods.set, {
        kind: "set",
        set: allPods.set,
        comment: `namespace: ${namespace.name}`,
      });
    }
    this.#namespaceSelectors.set(spec.key, spec);
  }

  #provisionPods(state: NamespaceState, analysis: Analysis, policy: NetworkPolicy): void {
    for (const spec of analysis.podSelectors.values()) {
      if (!state.podSelectors.has(spec.key)) {
        this.#createSet(spec.set, "hash:ip", policy.key);
        for (const pod of state.pods) {
          if (selectsPod(spec, pod, state.namespace.labels)) this.#addPod(spec.set, pod);
        }
        state.podSelectors.set(spec.key, spec);
      }
      if (spec !== analysis.target) continue;
      for (const direction of policy.types) {
        if (state.targets[direction].has(spec.key)) continue;
        state.targets[direction].add(spec.key);
        const allowed = this.#setNamed(state.defaultAllow[direction]).members;
        for (const pod of state.pods) {
          if (selectsPod(spec, pod, state.namespace.labels)) allowed.delete(podAddress(pod));
        }
      }
    }
  }

  #provisionNamespacedPods(spec: SelectorSpec, origin: string): void {
    if (this.#namespacedPodSelectors.has(spec.key)) return;
    this.#createSet(spec.set, "hash:ip", origin);
    for (const { namespace, pods } of this.#namespaces.values()) {
      for (const pod of pods) if (selectsPod(spec, pod, namespace.labels)) this.#addPod(spec.set, pod);
    }
    this.#namespacedPodSelectors.set(spec.key, spec);
  }

  #provisionExcepts(state: NamespaceState, spec: ExceptSpec, origin: string): void {
    if (state.excepts.has(spec.key)) return;
    this.#createSet(spec.set, "hash:net", origin);
    const { members } = this.#setNamed(spec.set);
    const added = new Set<string>();
    for (const { text, cidr } of spec.except) {
      if (added.has(text)) continue; // the controller counts users by text and adds once
      added.add(text);
      if (cidr.family !== 4) throw new IpsetError(`${text} is no IPv4 block`);
      const element = formatCidr(cidr);
      if (members.has(element)) throw new IpsetError(`${text} is in ${spec.set} already`);
      members.set(element, { kind: "net", cidr, comment: spec.comment });
    }
    state.excepts.add(spec.key);
  }

  #appendRule(spec: RuleSpec): void {
    const { matches, direction, origin } = spec;
    if (direction === "ingress") {
      this.policyRules.ingress.push({ matches, target: { kind: "accept" }, origin });
    } else {
      this.policyRules.egress.push(
        { matches, target: ACCEPT_EGRESS, origin },
        { matches, target: { kind: "return" }, origin },
      );
    }
  }

  #addPod(set: string, pod: Endpoint): void {
    this.#setNamed(set).members.set(podAddress(pod), {
      kind: "net",
      cidr: hostCidr(primaryAddress(pod)),
      comment: `namespace: ${pod.namespace}, pod: ${pod.name}`,
    });
  }

  #createSet(name: string, type: IPSet["type"], origin: string): void {
    if (this.#sets.has(name)) throw new IpsetError(`set ${name} exists already`);
    this.#sets.set(name, { name, type, origin, members: new Map<string, IPSetMember>() });
  }

  #setNamed(name: string): SetState {
    const set = this.#sets.get(name);
    if (set === undefined) throw new Error(`weave-net has no set ${name}`);
    return set;
  }

  #stateOf(namespace: string): NamespaceState {
    const state = this.#namespaces.get(namespace);
    if (state === undefined) throw new Error(`namespace ${namespace} was never announced`);
    return state;
  }
}

/** The chain that marks a packet as allowed to leave. */
export const ACCEPT_EGRESS = { kind: "jump", chain: "WEAVE-NPC-EGRESS-ACCEPT" } as const;

/** weave knows a pod by `status.podIP` alone, and only as IPv4. */
export function hasWeaveAddress(pod: Endpoint): boolean {
  return pod.addresses[0]?.family === 4;
}

function primaryAddress(pod: Endpoint): IpAddress {
  const address = pod.addresses[0];
  if (address === undefined) throw new Error(`pod ${pod.key} has no address`);
  return address;
}

function podAddress(pod: Endpoint): string {
  return formatCidr(hostCidr(primaryAddress(pod)));
}
