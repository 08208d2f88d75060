/**
 * One chain for each pod of the node, for both directions, and the jumps that bring its packets there (pod.go
 * `syncPodFirewallChains`). A packet between two pods of the node passes both chains, the order of the pods decides which
 * first. Where it passes, a chain only marks; it accepts nothing but what COMMON and the node itself may.
 */
import type { Family, IpAddress } from "../../../dataplane/address.ts";
import type { Chain, Match, RejectWith, Rule, Target } from "../../../dataplane/program.ts";
import type { Direction, Endpoint, NetworkPolicy } from "../../model.ts";
import type { ResolvedCluster, ResolvedPolicy } from "../../resolve.ts";
import { ACCEPT, comment, host, jumpTo, marked, notMarked, setMark } from "../../ruleParts.ts";
import { ALLOWED_MARK, PASSED_MARK } from "./marks.ts";
import {
  COMMON_CHAIN,
  DEFAULT_CHAIN,
  identityComment,
  podChainName,
  policyChainName,
  TAIL_CHAIN,
  type TOP_LEVEL,
} from "./names.ts";
import { BY_NAME, type Settings } from "./settings.ts";

/** A pod of the node with an address of the family: who gets a chain. */
export interface LocalPod {
  readonly pod: Endpoint;
  readonly address: IpAddress;
}

/** In the order in which they are visited. */
export function localPods(cluster: ResolvedCluster, settings: Settings, family: Family): readonly LocalPod[] {
  return settings
    .podOrder(cluster.podsOn(settings.node), ({ key }) => key)
    .flatMap((pod) => {
      const address = pod.addresses.find((one) => one.family === family);
      return address === undefined ? [] : [{ pod, address }];
    });
}

/** `--reject-with` of a plain `-j REJECT`, for TCP too. */
export const REJECT_WITH = {
  4: "icmp-port-unreachable",
  6: "icmp6-port-unreachable",
} as const satisfies Readonly<Record<Family, RejectWith>>;

/** What a pod has in one family, and what that was made from besides the pod. */
interface PodRules {
  readonly version: string;
  readonly name: string;
  readonly jumps: Readonly<Record<keyof typeof TOP_LEVEL, readonly Rule[]>>;
  chain?:
    | { readonly chain: Chain; readonly selection: Selection; readonly ingress: Policies; readonly egress: Policies }
    | undefined;
}

type Policies = readonly ResolvedPolicy[];

const RULES = {
  4: new WeakMap<Endpoint, PodRules>(),
  6: new WeakMap<Endpoint, PodRules>(),
} as const satisfies Record<Family, unknown>;

function rulesOf(local: LocalPod, version: string): PodRules {
  const { pod, address } = local;
  const known = RULES[address.family].get(pod);
  if (known?.version === version) return known;
  const name = podChainName(pod, version);
  const jumps = (hook: keyof typeof TOP_LEVEL) => podJumps(hook, local, name);
  const rules = { version, name, jumps: { INPUT: jumps("INPUT"), FORWARD: jumps("FORWARD"), OUTPUT: jumps("OUTPUT") } };
  RULES[address.family].set(pod, rules);
  return rules;
}

/** The chain of a pod; the same object while the pod is and its policies have their names and directions. */
export function podChain(cluster: ResolvedCluster, settings: Settings, local: LocalPod): Chain {
  const { pod } = local;
  const { family } = local.address;
  const own = rulesOf(local, settings.version);
  const [ingress, egress] = [cluster.policiesFor(pod, "ingress"), cluster.policiesFor(pod, "egress")];
  const selection = () => selectionOf({ cluster, settings, pod, family });
  if (settings.policyOrder !== BY_NAME) return makePodChain(selection(), settings, local);
  const latest = own.chain;
  if (latest?.ingress === ingress && latest.egress === egress) return latest.chain;
  const now = selection();
  const isAlike = latest !== undefined && areAlike(latest.selection, now);
  const chain = isAlike ? latest.chain : makePodChain(now, settings, local);
  own.chain = { chain, selection: now, ingress, egress };
  return chain;
}

/** Whether a pod has the same chain for both: of a policy its name counts, and in which directions it isolates. */
function areAlike(before: Selection, after: Selection): boolean {
  if (before === after) return true;
  if (before.jumps.length !== after.jumps.length) return false;
  return before.jumps.every(({ only, origin }, index) => {
    const other = after.jumps[index];
    return origin === other?.origin && only === other.only;
  });
}

function makePodChain(selection: Selection, settings: Settings, { pod, address }: LocalPod): Chain {
  const { family } = address;
  const { isolated, jumps, origin } = selection;
  const side = { ingress: sideOf("ingress", address), egress: sideOf("egress", address) };
  const openTo = (direction: Direction): readonly Rule[] =>
    isolated[direction]
      ? []
      : [
          {
            matches: [side[direction], comment(`default ${direction}`)],
            target: jumpTo(DEFAULT_CHAIN),
            origin: `pod ${pod.key}`,
          },
        ];
  const refused = notMarked(ALLOWED_MARK, ALLOWED_MARK);
  const rules: Rule[] = [
    { matches: [comment("common netpol rules")], target: jumpTo(COMMON_CHAIN) },
    {
      matches: [
        comment("from local node"),
        { kind: "addressType", side: "source", type: "LOCAL", negate: false },
        host("destination", address),
      ],
      target: ACCEPT,
    },
    ...openTo("egress"),
    ...openTo("ingress"),
  ];
  for (const { only, remark, target, origin, either } of jumps) {
    rules.push(only === undefined ? either : { matches: [side[only], remark], target, origin });
  }
  rules.push(
    {
      matches: [comment(identityComment(pod, "log-drop")), refused, { kind: "limit", rate: "10/min", burst: 10 }],
      target: { kind: "log", target: "NFLOG", text: "--nflog-group 100" },
      origin: origin ?? `pod ${pod.key}`,
    },
    {
      matches: [comment(identityComment(pod, "reject")), refused],
      target: { kind: "reject", with: REJECT_WITH[family] },
      origin: origin ?? `pod ${pod.key}`,
    },
    { matches: [], target: setMark(0, ALLOWED_MARK) },
    { matches: [comment("set netpol-ok mark")], target: setMark(PASSED_MARK, PASSED_MARK) },
  );
  return { name: podChainName(pod, settings.version), rules };
}

/** What the policies that select a pod make of its chain; pods that are selected by the same ones have it in common. */
interface Selection {
  readonly isolated: Readonly<Record<Direction, boolean>>;
  /** Each is inserted before the one visited earlier. */
  readonly jumps: readonly PolicyJump[];
  /** Undefined: no policy selects it. */
  readonly origin: string | undefined;
}

interface Selecting {
  readonly cluster: ResolvedCluster;
  readonly settings: Settings;
  readonly pod: Endpoint;
  readonly family: Family;
}

/** Lists of policies are the same arrays for pods that the same ones select. */
function selectionOf({ cluster, settings, pod, family }: Selecting): Selection {
  const [ingress, egress] = [cluster.policiesFor(pod, "ingress"), cluster.policiesFor(pod, "egress")];
  if (settings.policyOrder !== BY_NAME) return makeSelection({ cluster, settings, pod, family });
  const key = ingress.length > 0 ? ingress : egress;
  const known = SELECTIONS[family].get(key);
  if (known?.ingress === ingress && known.egress === egress && known.version === settings.version) {
    return known.selection;
  }
  const selection = makeSelection({ cluster, settings, pod, family });
  SELECTIONS[family].set(key, { ingress, egress, version: settings.version, selection });
  return selection;
}

interface KnownSelection {
  readonly ingress: Policies;
  readonly egress: Policies;
  readonly version: string;
  readonly selection: Selection;
}

const SELECTIONS = {
  4: new WeakMap<Policies, KnownSelection>(),
  6: new WeakMap<Policies, KnownSelection>(),
} as const satisfies Record<Family, unknown>;

function makeSelection({ cluster, settings, pod, family }: Selecting): Selection {
  const policies = selecting(cluster, settings, pod);
  const isolated = (direction: Direction) => policies.some(({ policy }) => policy.types.includes(direction));
  return {
    isolated: { ingress: isolated("ingress"), egress: isolated("egress") },
    jumps: policies.toReversed().map(({ policy }) => policyJump(policy, settings.version, family)),
    origin: policies.map(({ policy }) => policy.key).join(", ") || undefined,
  };
}

interface PolicyJump {
  readonly version: string;
  /** The one direction the policy is about: the jump then asks for the pod's side of it. */
  readonly only: Direction | undefined;
  /** Shared by the rules of all pods: where many policies select many pods, they are most of a node's. */
  readonly remark: Match;
  readonly target: Target;
  readonly origin: string;
  /** The rule for both directions. */
  readonly either: Rule;
}

/** The jump to a policy's chain. */
function policyJump(policy: NetworkPolicy, version: string, family: Family): PolicyJump {
  const known = POLICY_JUMPS[family].get(policy);
  if (known?.version === version) return known;
  const [only] = policy.types.length === 1 ? policy.types : [];
  const remark = comment(identityComment(policy, "policy"));
  const target = jumpTo(policyChainName(policy, version, family));
  const origin = policy.key;
  const made = { version, only, remark, target, origin, either: { matches: [remark], target, origin } };
  POLICY_JUMPS[family].set(policy, made);
  return made;
}

const POLICY_JUMPS = {
  4: new WeakMap<NetworkPolicy, PolicyJump>(),
  6: new WeakMap<NetworkPolicy, PolicyJump>(),
} as const satisfies Record<Family, unknown>;

/** Every policy that selects the pod, in the order in which policies are visited. */
function selecting(cluster: ResolvedCluster, settings: Settings, pod: Endpoint): readonly ResolvedPolicy[] {
  const found = new Set([...cluster.policiesFor(pod, "ingress"), ...cluster.policiesFor(pod, "egress")]);
  return settings.policyOrder(inClusterOrder(cluster, found), ({ policy }) => policy.key);
}

function inClusterOrder(cluster: ResolvedCluster, policies: ReadonlySet<ResolvedPolicy>): readonly ResolvedPolicy[] {
  if (policies.size <= 1) return [...policies];
  const [{ policy } = { policy: undefined }] = policies;
  return policy === undefined ? [] : cluster.policiesIn([policy.namespace]).filter((one) => policies.has(one));
}

/** The pod's own side of a packet of the direction. */
function sideOf(direction: Direction, address: IpAddress): Match {
  return host(direction === "ingress" ? "destination" : "source", address);
}

/** The rules of KUBE-ROUTER-INPUT, -FORWARD or -OUTPUT for the pods, and the two that end each. */
export function topLevelRules(
  hook: keyof typeof TOP_LEVEL,
  pods: readonly LocalPod[],
  version: string,
): readonly Rule[] {
  return [...pods.flatMap((local) => rulesOf(local, version).jumps[hook]), ...TOP_LEVEL_END];
}

const TOP_LEVEL_END: readonly Rule[] = [
  {
    matches: [comment("rule to explicitly handle traffic for network policies ACCEPT/REJECT decision")],
    target: jumpTo(TAIL_CHAIN),
  },
  {
    matches: [
      comment("rule to explicitly ACCEPT traffic that comply to network policies"),
      marked(PASSED_MARK, PASSED_MARK),
    ],
    target: ACCEPT,
  },
];

function podJumps(hook: keyof typeof TOP_LEVEL, { pod, address }: LocalPod, name: string): readonly Rule[] {
  const rule = (side: "in" | "out", bridged: readonly Match[]): Rule => ({
    matches: [sideOf(side === "in" ? "ingress" : "egress", address), ...bridged, comment(identityComment(pod, side))],
    target: jumpTo(name),
    origin: `pod ${pod.key}`,
  });
  switch (hook) {
    case "INPUT":
      return [rule("out", [])];
    case "OUTPUT":
      return [rule("in", []), rule("out", [])];
    case "FORWARD":
      return [rule("in", []), rule("in", [BRIDGED]), rule("out", []), rule("out", [BRIDGED])];
  }
}

const BRIDGED: Match = { kind: "physdev", isBridged: true };
