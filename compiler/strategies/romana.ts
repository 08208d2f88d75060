/**
 * Romana: an ingress ladder for each policy over IPAM blocks, in front of a default drop.
 *
 *   FORWARD  -i pod -> ROMANA-FORWARD-OUT   destination on this host -> ROMANA-FORWARD-IN, else ACCEPT
 *            -o pod -> ROMANA-FORWARD-IN    established ACCEPT -> ROMANA-OP -> one jump a policy -> DROP
 *   ROMANA-P-x (target block?) -> _X (a peer?) -> _R (a port?) ACCEPT
 *
 * All peers and all ports of a policy pool in one _X and one _R, so what is allowed is their cross product. IPv4 only.
 */
import { parseProtocol } from "../../dataplane/packet.ts";
import type { Attachment, Chain, IPSet, Match, Rule, TableProgram, Target } from "../../dataplane/program.ts";
import { listChange, MappedAgain, rememberedBy, sameItems } from "../again.ts";
import { compareAge, compareText } from "../age.ts";
import { routedAttachment } from "../attachment.ts";
import type { Endpoint } from "../model.ts";
import { podHash } from "../podHash.ts";
import type { ResolvedCluster } from "../resolve.ts";
import { type Block, blocksOf, isPlugged } from "./romana/blocks.ts";
import { deviations } from "./romana/deviations.ts";
import { listPolicies, orderedPolicies, policiesOnHost } from "./romana/listener.ts";
import { policyChain, type RomanaEndpoint, type RomanaPolicy, type RomanaRule, tenantSet } from "./romana/translate.ts";
import { CHANGED_POLICIES_IGNORED, tickingController } from "./romana/update.ts";
import { isMade, type LowerOptions, type Strategy, settingOf, switchOf } from "./strategy.ts";

/** Blocks of this host (agent/enforcer LocalBlockSetName). */
const LOCAL_BLOCKS = "localBlocks";

export const romana: Strategy = {
  name: "romana",
  summary: "Romana agent: IPAM blocks instead of addresses, ingress only, IPv4 only",
  sources: [
    "romana/core 6139692f listener/{translate,resources}.go",
    "romana/core 6139692f agent/enforcer/{enforcer,base,helpers}.go, agent/policyhasher, pkg/policytools",
    "romana/core 6139692f cni/divert_rules.go",
  ],
  unsupported: ["ipv6", "egress", "ip-block", "except", "named-port", "end-port", "sctp", "match-expressions"],
  deviations,
  lapses: [CHANGED_POLICIES_IGNORED],
  denyVerdict: "drop",
  options: [
    {
      name: "policy-order",
      default: "uid",
      summary:
        "order of the policies' jumps (random in Romana): `uid`, or `namespace/policy` names separated by commas, the others behind them",
    },
    switchOf(CHANGED_POLICIES_IGNORED, "on"),
  ],
  attach,
  follow: (cluster, options) =>
    tickingController(cluster, {
      strategy: romana,
      options,
      interfaceOf,
      ignoresChanges: isMade(romana, options, CHANGED_POLICIES_IGNORED),
    }),
  lower(cluster: ResolvedCluster, options: LowerOptions): TableProgram {
    const blocks = blocksOf(cluster);
    // The agent does nothing before IPAM has given it a block.
    const started = blocks.length > 0;
    return {
      kind: "tables",
      strategy: romana.name,
      node: options.node,
      sets: started ? sets(cluster, blocks, options.node) : [],
      families: [
        {
          family: 4,
          tables: [
            {
              name: "filter",
              chains: [...divertChains(cluster, options.node), ...(started ? agentChains(cluster, options) : [])],
            },
          ],
        },
      ],
      attachment: attach(cluster, options),
    };
  },
};

function attach(cluster: ResolvedCluster, { node }: LowerOptions): Attachment {
  return routedAttachment(cluster, {
    node,
    pods: byAge(cluster.podsOn(node)),
    interfaceOf,
  });
}

/** The real name ends in eight digits of the pod's infra container, which no manifest knows. */
function interfaceOf(pod: Endpoint): string {
  return `romana-${podHash(pod, 8)}`;
}

/** The CNI plugin appends a pod's rules when it makes the pod. */
function byAge(pods: readonly Endpoint[]): readonly Endpoint[] {
  return [...pods].sort(compareAge);
}

function divertChains(cluster: ResolvedCluster, node: string): readonly Chain[] {
  const pods = byAge(cluster.podsOn(node)).filter(isPlugged);
  const divert = (pod: Endpoint, side: "in" | "out", chain: string): Rule => ({
    matches: [{ kind: "interface", side, name: interfaceOf(pod), negate: false }],
    target: { kind: "jump", chain },
    origin: `pod ${pod.key}`,
  });
  return [
    { name: "INPUT", policy: "accept", rules: pods.map((pod) => divert(pod, "in", "ROMANA-INPUT")) },
    {
      name: "FORWARD",
      policy: "accept",
      rules: pods.flatMap((pod) => [divert(pod, "in", "ROMANA-FORWARD-OUT"), divert(pod, "out", "ROMANA-FORWARD-IN")]),
    },
    { name: "OUTPUT", policy: "accept", rules: pods.map((pod) => divert(pod, "out", "ROMANA-OUTPUT")) },
  ];
}

const accept: Target = { kind: "accept" };
const drop: Target = { kind: "drop" };
const jump = (chain: string): Target => ({ kind: "jump", chain });
const comment = (text: string): Match => ({ kind: "comment", text });
const inSet = (set: string, side: "source" | "destination"): Match => ({
  kind: "set",
  set,
  sides: [side],
  negate: false,
});

function agentChains(cluster: ResolvedCluster, options: LowerOptions): readonly Chain[] {
  const { node } = options;
  const { policies: listed, rendered } = listPolicies(cluster);
  const policies = orderedPolicies(listed, settingOf(romana, options, "policy-order"));
  const onHost = rendered ? policiesOnHost(policies, cluster, node) : [];
  const footer: Rule = { matches: [comment("POLICY_CHAIN_FOOTER")], target: { kind: "return" } };
  const chains: Chain[] = [
    {
      name: "ROMANA-FORWARD-IN",
      rules: [
        {
          matches: [
            comment("Ingress"),
            { kind: "ctState", states: ["related", "established"], extension: "state", negate: false },
          ],
          target: accept,
        },
        { matches: [], target: jump("ROMANA-OP") },
        ...onHost.map(
          (policy): Rule => ({
            matches: [],
            target: jump(policyChain(policy)),
            origin: policy.origin,
          }),
        ),
        { matches: [comment("DefaultDrop")], target: drop },
      ],
    },
    {
      name: "ROMANA-FORWARD-OUT",
      rules: [
        { matches: [inSet(LOCAL_BLOCKS, "destination")], target: jump("ROMANA-FORWARD-IN") },
        { matches: [comment("Egress")], target: accept },
      ],
    },
    { name: "ROMANA-INPUT", rules: [{ matches: [], target: accept }] },
    { name: "ROMANA-OP", rules: [footer] },
    // Never referred to, but always there.
    { name: "ROMANA-OP-IN", rules: [footer] },
    { name: "ROMANA-OUTPUT", rules: [{ matches: [], target: accept }] },
    ...onHost.flatMap((policy) => rememberedBy(LADDERS, policy, ladder)),
  ];
  return chains.sort((a, b) => compareText(a.name, b.name));
}

const LADDERS = new WeakMap<RomanaPolicy, readonly Chain[]>();

/** Target, peers, ports: three chains a policy. */
function ladder(policy: RomanaPolicy): readonly Chain[] {
  const name = policyChain(policy);
  const { origin } = policy;
  const peers = policy.ingress.flatMap(({ peers: some }) => some);
  const ports = policy.ingress.flatMap(({ rules }) => rules);
  return [
    {
      name,
      rules: [
        {
          matches: [inSet(tenantSet(policy.target.tenant, policy.target.segment), "destination")],
          target: jump(`${name}_X`),
          origin,
        },
      ],
    },
    {
      name: `${name}_X`,
      rules: distinct(peers.map((peer): Rule => ({ matches: peerMatches(peer), target: jump(`${name}_R`), origin }))),
    },
    {
      // The agent inserts after the last rule that is no plain verdict; here all are, so each goes to the top.
      name: `${name}_R`,
      rules: distinct(ports.flatMap((rule) => portRules(rule, origin))).reverse(),
    },
  ];
}

function peerMatches(peer: RomanaEndpoint): readonly Match[] {
  return peer.peer === "any" ? [] : [inSet(tenantSet(peer.tenant, peer.segment), "source")];
}

function portRules({ protocol, port }: RomanaRule, origin: string): readonly Rule[] {
  if (protocol === "any") return [{ matches: [], target: accept, origin }];
  if (protocol !== "tcp" && protocol !== "udp") return []; // no rule is made for SCTP
  const matches: Match[] = [{ kind: "protocol", protocol: parseProtocol(protocol) ?? 0, negate: false }];
  if (port !== undefined) {
    matches.push({
      kind: "ports",
      side: "destination",
      ranges: [{ first: port, last: port }],
      extension: protocol,
      negate: false,
    });
  }
  return [{ matches, target: accept, origin }];
}

/** A rule that the chain has already is not added again. */
function distinct(rules: readonly Rule[]): Rule[] {
  const seen = new Map(rules.map((rule) => [JSON.stringify([rule.matches, rule.target]), rule] as const).reverse());
  return rules.filter((rule) => seen.get(JSON.stringify([rule.matches, rule.target])) === rule);
}

interface TenantSets {
  /** By segment. */
  readonly own: Map<string, { readonly blocks: readonly Block[]; readonly set: IPSet }>;
  /** Those of the latest state, in order. */
  ordered: readonly IPSet[];
  /** The list of them. */
  list: IPSet | undefined;
}

interface LatestSets {
  blocks: readonly Block[];
  readonly tenants: Map<string, TenantSets>;
}

/** The sets of tenants in the latest state: those with the same blocks stay the same objects. */
const LATEST_SETS = new WeakMap<WeakKey, LatestSets>();
const EMPTY_SETS = new WeakMap<WeakKey, MappedAgain<RomanaPolicy, IPSet>>();

function sets(cluster: ResolvedCluster, blocks: readonly Block[], node: string): readonly IPSet[] {
  const latest = rememberedBy(LATEST_SETS, cluster.lineage, () => ({ blocks: [], tenants: new Map() }));
  const { gone, come } = listChange(latest.blocks, blocks);
  const touched = new Set([...gone, ...come].map(({ tenant }) => tenant));
  latest.blocks = blocks;
  // In the order of their first blocks; a tenant none of whose blocks came or went keeps its sets.
  const tenants = new Set<string>();
  const changed = new Map<string, Map<string, Block[]>>();
  const local: Block[] = [];
  for (const block of blocks) {
    const { tenant } = block;
    tenants.add(tenant);
    if (block.host === node) local.push(block);
    if (!touched.has(tenant)) continue;
    const segments = changed.get(tenant) ?? new Map<string, Block[]>();
    changed.set(tenant, segments);
    const own = segments.get(block.segment);
    if (own === undefined) segments.set(block.segment, [block]);
    else own.push(block);
  }
  const empty = rememberedBy(EMPTY_SETS, cluster.lineage, () => new MappedAgain<RomanaPolicy, IPSet>());
  // For CIDR peers, which no NetworkPolicy becomes; made for every policy all the same.
  const ofPolicies = empty.of(listPolicies(cluster).policies, (policy) =>
    netSet(`${policyChain(policy)}_s`, [], policy.origin),
  );
  const [ofSegments, lists]: [IPSet[], IPSet[]] = [[], []];
  for (const tenant of tenants) {
    const known = latest.tenants.get(tenant) ?? { own: new Map(), ordered: [], list: undefined };
    latest.tenants.set(tenant, known);
    const segments = changed.get(tenant);
    if (segments !== undefined) {
      known.ordered = Array.from(segments, ([segment, members]) => segmentSet(known, { tenant, segment, members }));
    }
    for (const set of known.ordered) ofSegments.push(set);
    lists.push(segments === undefined && known.list !== undefined ? known.list : listSet(known, tenant, known.ordered));
  }
  return ofPolicies.concat(ofSegments, netSet(LOCAL_BLOCKS, local, `node ${node}`), lists);
}

function segmentSet(
  { own }: TenantSets,
  { tenant, segment, members }: { readonly tenant: string; readonly segment: string; readonly members: Block[] },
): IPSet {
  const known = own.get(segment);
  if (known !== undefined && sameItems(known.blocks, members)) return known.set;
  const set = netSet(tenantSet(tenant, segment), members, `namespace ${tenant}`);
  own.set(segment, { blocks: members, set });
  return set;
}

function listSet(latest: TenantSets, tenant: string, own: readonly IPSet[]): IPSet {
  const names = latest.list?.members.map((member) => (member.kind === "set" ? member.set : ""));
  if (
    latest.list === undefined ||
    names === undefined ||
    !sameItems(
      names,
      own.map(({ name }) => name),
    )
  ) {
    latest.list = {
      name: tenantSet(tenant, ""),
      type: "list:set",
      family: 4,
      members: own.map(({ name }) => ({ kind: "set", set: name })),
      options: {},
      origin: `namespace ${tenant}`,
    };
  }
  return latest.list;
}

function netSet(name: string, members: readonly Block[], origin: string): IPSet {
  return {
    name,
    type: "hash:net",
    family: 4,
    members: members.map(({ cidr }) => ({ kind: "net", cidr })),
    options: {},
    origin,
  };
}
