/**
 * The chains of the local endpoints in the filter table: dispatch by interface, then per endpoint and direction its
 * policies, group by group, and its profiles.
 *
 * Source: projectcalico/calico felix/rules/{dispatch,endpoints}.go.
 */
import { LRUCache } from "lru-cache";
import type { Family } from "../../../dataplane/address.ts";
import { PROTOCOL } from "../../../dataplane/packet.ts";
import type { Chain } from "../../../dataplane/program.ts";
import { rememberedBy, sameItems } from "../../again.ts";
import { compareText } from "../../age.ts";
import { groupedBy } from "../../members.ts";
import { DIRECTIONS, type Direction, type Endpoint } from "../../model.ts";
import type { ResolvedCluster, ResolvedPolicy } from "../../resolve.ts";
import { action, type FelixRule, felixChain, match } from "./felixRule.ts";
import { MARK } from "./marks.ts";
import { endpointChain, groupChain, interfaceName, policyChain, profileChain } from "./names.ts";
import { policyChainRules, withComment } from "./policyRules.ts";
import { policySelector } from "./selector.ts";

const ROOT: Readonly<Record<Direction, string>> = {
  ingress: "cali-to-wl-dispatch",
  egress: "cali-from-wl-dispatch",
};

/** FELIX_VXLANPORT's default. */
const VXLAN_PORT = 4789;
/** Policies of a group between two looks at the verdict (felix/rules/endpoints.go returnStride). */
const GROUP_STRIDE = 5;

/** Every chain that the endpoints need, once each. */
export function endpointChains(cluster: ResolvedCluster, pods: readonly Endpoint[], family: Family): readonly Chain[] {
  const chains = new Map<string, Chain>();
  const put = (chain: Chain) => {
    if (!chains.has(chain.name)) chains.set(chain.name, chain);
  };
  for (const direction of DIRECTIONS) {
    for (const chain of dispatchChains(cluster.lineage, pods, direction)) put(chain);
    for (const pod of pods) for (const chain of chainsOf(cluster, pod, { direction, family })) put(chain);
  }
  return [...chains.values()];
}

interface Side {
  readonly direction: Direction;
  readonly family: Family;
}

/** The chains that one endpoint needs; the same list while the same policies select it. */
function chainsOf(cluster: ResolvedCluster, pod: Endpoint, { direction, family }: Side): readonly Chain[] {
  const selection = cluster.selectionIn(pod.namespace);
  const latest = LATEST_CHAINS[family][direction].get(pod);
  if (latest?.selection === selection) return latest.chains;
  const groups = policyGroups(cluster, pod, direction);
  const chains = [chainOfEndpoint(pod, direction, groups)];
  for (const group of groups) {
    if (group.chain !== undefined) chains.push(chainOfGroup(group, group.chain, direction));
    for (const resolved of group.policies) chains.push(chainOfPolicy(resolved, direction, family));
  }
  for (const profile of profilesOf(pod)) chains.push(chainOfProfile(profile, direction));
  LATEST_CHAINS[family][direction].set(pod, { selection, chains });
  return chains;
}

interface LatestChains {
  readonly selection: WeakKey;
  readonly chains: readonly Chain[];
}

const LATEST_CHAINS = {
  4: { ingress: new WeakMap<Endpoint, LatestChains>(), egress: new WeakMap<Endpoint, LatestChains>() },
  6: { ingress: new WeakMap<Endpoint, LatestChains>(), egress: new WeakMap<Endpoint, LatestChains>() },
} as const satisfies Record<Family, Record<Direction, unknown>>;

/*
 * Chains are made once from what they say, and kept as long as that lives: in a cluster that changes, most of what a node
 * has stays, and hashing its rules is most of the work.
 */

interface EndpointChain {
  readonly groups: readonly PolicyGroup[];
  readonly chain: Chain;
}

/** The latest of each endpoint. */
const ENDPOINT_CHAINS = {
  ingress: new WeakMap<Endpoint, EndpointChain>(),
  egress: new WeakMap<Endpoint, EndpointChain>(),
} as const satisfies Record<Direction, unknown>;
const EMPTY_GROUPS = { ingress: [], egress: [] } as const satisfies Record<Direction, readonly PolicyGroup[]>;
const GROUP_CHAINS = new WeakMap<PolicyGroup, Chain>();
const POLICY_CHAINS = new WeakMap<ResolvedPolicy, Map<string, Chain>>();
const PROFILE_CHAINS = new LRUCache<string, Chain>({ max: 4_096 });

function chainOfEndpoint(pod: Endpoint, direction: Direction, groups: readonly PolicyGroup[]): Chain {
  const latest = ENDPOINT_CHAINS[direction].get(pod);
  if (latest !== undefined && areAlike(latest.groups, groups)) return latest.chain;
  const chain = felixChain(endpointChain(direction, pod), endpointRules(pod, direction, groups));
  ENDPOINT_CHAINS[direction].set(pod, { groups, chain });
  return chain;
}

/** Whether an endpoint has the same rules for both: of a group its chain counts, and the names of its policies. */
function areAlike(before: readonly PolicyGroup[], after: readonly PolicyGroup[]): boolean {
  if (before === after) return true;
  if (before.length !== after.length) return false;
  return before.every((group, index) => {
    const other = after[index];
    if (group.chain !== other?.chain || group.policies.length !== other?.policies.length) return false;
    return group.policies.every(({ policy }, at) => policy.key === other.policies[at]?.policy.key);
  });
}

function chainOfGroup(group: PolicyGroup, name: string, direction: Direction): Chain {
  return rememberedBy(GROUP_CHAINS, group, () => felixChain(name, groupRules(group, direction)));
}

function chainOfPolicy(resolved: ResolvedPolicy, direction: Direction, family: Family): Chain {
  const own = rememberedBy(POLICY_CHAINS, resolved, () => new Map<string, Chain>());
  const key = `${direction}${family}`;
  const chain =
    own.get(key) ?? felixChain(policyChain(direction, resolved.policy), policyChainRules(resolved, direction, family));
  own.set(key, chain);
  return chain;
}

function chainOfProfile(profile: Profile, direction: Direction): Chain {
  const name = profileChain(direction, profile.name);
  const chain = PROFILE_CHAINS.get(name) ?? felixChain(name, profileRules(profile, direction));
  PROFILE_CHAINS.set(name, chain);
  return chain;
}

interface DispatchChain {
  /** The interfaces that it knows, in order; those of a chain of their own by what they have in common. */
  readonly interfaces: readonly string[];
  readonly chain: Chain;
}

/** By node and name. */
const DISPATCH_CHAINS = new WeakMap<WeakKey, Map<string, DispatchChain>>();

/**
 * Two levels: interfaces that share the character after the common beginning of all names go to a chain of their own,
 * by goto, so that each chain must end in the drop itself. Interfaces are named by the names of pods: pods that change, and
 * keep them, keep the chains, and one that comes or goes leaves alone those of other characters.
 */
function dispatchChains(lineage: WeakKey, pods: readonly Endpoint[], direction: Direction): readonly Chain[] {
  const side = direction === "ingress" ? "out" : "in";
  const byInterface = new Map(pods.map((pod) => [interfaceName(pod), pod]));
  const names = [...byInterface.keys()].sort(compareText);
  const common = commonPrefix(names);
  const known = rememberedBy(DISPATCH_CHAINS, lineage, () => new Map<string, DispatchChain>());
  const ruleOf = (name: string): FelixRule => {
    const pod = byInterface.get(name);
    const matches = [match.interface(side, name)];
    if (pod === undefined) return { matches, action: action.goto(childChain(name, common, direction)) };
    return { matches, action: action.goto(endpointChain(direction, pod)), origin: `pod ${pod.key}` };
  };
  const chainOf = (name: string, interfaces: readonly string[]): Chain => {
    const key = `${pods[0]?.node} ${name}`;
    const latest = known.get(key);
    if (latest !== undefined && sameItems(latest.interfaces, interfaces)) return latest.chain;
    const chain = felixChain(name, [...interfaces.map(ruleOf), UNKNOWN_INTERFACE]);
    known.set(key, { interfaces, chain });
    return chain;
  };
  const bins = groupedBy(names, (name) => name.slice(0, common.length + 1));
  const root = [...bins].map(([prefix, [only = "", ...others]]) => (others.length === 0 ? only : `${prefix}+`));
  const children = [...bins].flatMap(([prefix, members]) =>
    members.length === 1 ? [] : [chainOf(childChain(prefix, common, direction), members)],
  );
  return [...children, chainOf(ROOT[direction], root)];
}

const UNKNOWN_INTERFACE: FelixRule = { matches: [], action: action.drop, comments: ["Unknown interface"] };

/** Named by the character that its interfaces have behind the common beginning. */
function childChain(prefix: string, common: string, direction: Direction): string {
  return `${ROOT[direction]}-${prefix.slice(common.length, common.length + 1)}`;
}

function commonPrefix(names: readonly string[]): string {
  const [first = "", ...rest] = names;
  let length = first.length;
  for (const name of rest) {
    let shared = 0;
    while (shared < length && name[shared] === first[shared]) shared++;
    length = shared;
  }
  return first.slice(0, length);
}

interface PolicyGroup {
  readonly selector: string;
  readonly policies: readonly ResolvedPolicy[];
  /** The chain of the group; a group of one has none. */
  readonly chain: string | undefined;
}

// Endpoints with the same policies share one list of them (resolve.ts), and hashing the names of groups is dear.
const GROUPS = {
  ingress: new WeakMap<readonly ResolvedPolicy[], readonly PolicyGroup[]>(),
  egress: new WeakMap<readonly ResolvedPolicy[], readonly PolicyGroup[]>(),
} as const satisfies Record<Direction, unknown>;

function policyGroups(cluster: ResolvedCluster, pod: Endpoint, direction: Direction): readonly PolicyGroup[] {
  const policies = cluster.policiesFor(pod, direction);
  if (policies.length === 0) return EMPTY_GROUPS[direction];
  return rememberedBy(GROUPS[direction], policies, () => grouped(policies, direction));
}

/** The policies in order of name, those that follow each other with one selector together. */
function grouped(selecting: readonly ResolvedPolicy[], direction: Direction): readonly PolicyGroup[] {
  const order = ({ policy }: ResolvedPolicy) => `${policy.name}/${policy.namespace}/KubernetesNetworkPolicy`;
  const sorted = [...selecting].sort((a, b) => compareText(order(a), order(b)));
  const groups: { selector: string; policies: ResolvedPolicy[] }[] = [];
  for (const resolved of sorted) {
    const selector = policySelector(resolved.policy);
    const last = groups.at(-1);
    if (last?.selector === selector) last.policies.push(resolved);
    else groups.push({ selector, policies: [resolved] });
  }
  return groups.map(({ selector, policies }) => {
    const members = policies.map(({ policy }) => policy);
    return { selector, policies, chain: members.length > 1 ? groupChain(direction, selector, members) : undefined };
  });
}

function groupRules({ policies }: PolicyGroup, direction: Direction): readonly FelixRule[] {
  return policies.flatMap(({ policy }, index): readonly FelixRule[] => {
    const first = index % GROUP_STRIDE === 0;
    const jump: FelixRule = {
      matches: first ? [] : [match.markClear(MARK.pass | MARK.accept)],
      action: action.jump(policyChain(direction, policy)),
      origin: policy.key,
    };
    if (!first || index === 0) return [jump];
    const verdict: FelixRule = {
      matches: [match.markNotClear(MARK.pass | MARK.accept)],
      action: action.return,
      comments: ["Return on verdict"],
    };
    return [verdict, jump];
  });
}

function endpointRules(pod: Endpoint, direction: Direction, groups: readonly PolicyGroup[]): readonly FelixRule[] {
  const origin = `pod ${pod.key}`;
  const rules: FelixRule[] = [
    { matches: [match.ctState("related", "established")], action: action.accept },
    { matches: [match.ctState("invalid")], action: action.drop },
    { matches: [], action: action.clearMark(MARK.accept | MARK.pass) },
  ];
  if (direction === "egress") {
    rules.push(
      {
        matches: [match.protocol(PROTOCOL.udp), match.toPorts([{ first: VXLAN_PORT, last: VXLAN_PORT }])],
        action: action.drop,
        comments: ["Drop VXLAN encapped packets originating in workloads"],
      },
      {
        matches: [match.protocol(PROTOCOL.ipencap)],
        action: action.drop,
        comments: ["Drop IPinIP encapped packets originating in workloads"],
      },
    );
  }
  if (groups.length > 0) {
    rules.push({ matches: [], action: action.clearMark(MARK.pass), comments: ["Start of tier default"] });
    for (const { policies, chain } of groups) {
      rules.push(
        {
          matches: [match.markClear(MARK.pass)],
          action: action.jump(chain ?? policies.map(({ policy }) => policyChain(direction, policy)).join()),
          origin: policies.map(({ policy }) => policy.key).join(", "),
        },
        { matches: [match.markSet(MARK.accept)], action: action.return, comments: ["Return if policy accepted"] },
      );
    }
    rules.push({
      matches: [match.markClear(MARK.pass)],
      action: action.drop,
      comments: ["End of tier default. Drop if no policies passed packet"],
      origin: `${origin} ${direction}`,
    });
  }
  for (const profile of profilesOf(pod)) {
    rules.push(
      { matches: [], action: action.jump(profileChain(direction, profile.name)), origin },
      { matches: [match.markSet(MARK.accept)], action: action.return, comments: ["Return if profile accepted"] },
    );
  }
  rules.push({ matches: [], action: action.drop, comments: ["Drop if no profiles matched"], origin });
  return rules;
}

interface Profile {
  readonly name: string;
  /** Namespaces allow everything, service accounts say nothing. */
  readonly allows: "everything" | "nothing";
}

function profilesOf(pod: Endpoint): readonly Profile[] {
  const namespace: Profile = { name: `kns.${pod.namespace}`, allows: "everything" };
  if (pod.serviceAccount === "") return [namespace];
  return [namespace, { name: `ksa.${pod.namespace}.${pod.serviceAccount}`, allows: "nothing" }];
}

function profileRules({ name, allows }: Profile, direction: Direction): readonly FelixRule[] {
  const rules: readonly FelixRule[] =
    allows === "everything" ? [{ matches: [], action: action.setMark(MARK.accept), origin: `profile ${name}` }] : [];
  return withComment(rules, `Profile ${name} ${direction}`, `profile ${name}`);
}
