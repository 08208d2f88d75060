/**
 * Romana: an ingress ladder for each policy over IPAM blocks, in front of a default drop.
 *
 *   FORWARD  -i pod -> ROMANA-FORWARD-OUT   destination on this host -> ROMANA-FORWARD-IN, else ACCEPT
 *            -o pod -> ROMANA-FORWARD-IN    established ACCEPT -> ROMANA-OP -> one jump a policy -> DROP
 *   ROMANA-P-x (target block?) -> _X (a peer?) -> _R (a port?) ACCEPT
 *
 * All peers and all ports of a policy pool in one _X and one _R, so what is allowed is their cross product. IPv4 only.
 */
import { compareCidrs } from "../../dataplane/address.ts";
import { parseProtocol } from "../../dataplane/packet.ts";
import type { Attachment, Chain, IPSet, Match, Rule, TableProgram, Target } from "../../dataplane/program.ts";
import { FilteredAgain, listChange, MappedAgain, rememberedBy, SortedAgain, sameItems } from "../again.ts";
import { compareAge, compareText } from "../age.ts";
import { routedAttachment } from "../attachment.ts";
import { groupedBy } from "../members.ts";
import type { Endpoint } from "../model.ts";
import { podHash } from "../podHash.ts";
import type { ResolvedCluster } from "../resolve.ts";
import { type Block, blocksOf, isPlugged, isUnnamed } from "./romana/blocks.ts";
import { deviations } from "./romana/deviations.ts";
import { CHANGED_POLICIES_IGNORED, UNREAD_ANNOTATION_IGNORED } from "./romana/lapses.ts";
import { isRefused, listPolicies, orderedPolicies, policiesOnHost } from "./romana/listener.ts";
import { policyChain, type RomanaEndpoint, type RomanaPolicy, type RomanaRule, tenantSet } from "./romana/translate.ts";
import { tickingController } from "./romana/update.ts";
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
  lapses: [CHANGED_POLICIES_IGNORED, UNREAD_ANNOTATION_IGNORED],
  denyVerdict: "drop",
  options: [
    {
      name: "policy-order",
      default: "uid",
      summary:
        "order of the policies' jumps (random in Romana): `uid`, or `namespace/policy` names separated by commas, the others behind them",
    },
    switchOf(CHANGED_POLICIES_IGNORED, "on"),
    switchOf(UNREAD_ANNOTATION_IGNORED, "on"),
  ],
  attach,
  follow: (cluster, options) =>
    tickingController(cluster, {
      strategy: romana,
      rendered: (state) => programOf(state, options, false),
      inOtherType,
      options,
      interfaceOf,
      ignoresChanges: isMade(romana, options, CHANGED_POLICIES_IGNORED),
      ignoresUnread: isMade(romana, options, UNREAD_ANNOTATION_IGNORED),
    }),
  lower: (cluster, options) => programOf(cluster, options, isRefused(cluster, options.node)),
};

/** `refused`: iptables takes nothing of it, and so the plugin's jumps have nowhere to go; the sets are there. */
function programOf(cluster: ResolvedCluster, options: LowerOptions, refused: boolean): TableProgram {
  const blocks = blocksOf(cluster);
  // The agent does nothing before IPAM has given it a block.
  const started = blocks.length > 0;
  const diverted = refused ? NO_PODS : byAge(cluster.podsOn(options.node));
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
            chains: [
              ...rememberedBy(DIVERTS, diverted, divertChains),
              ...(started && !refused ? agentChains(cluster, options) : []),
            ],
          },
        ],
      },
    ],
    attachment: attach(cluster, options),
  };
}

const NO_PODS: readonly Endpoint[] = [];

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
  return rememberedBy(BY_AGE, pods, () => pods.toSorted(compareAge));
}

const BY_AGE = new WeakMap<readonly Endpoint[], readonly Endpoint[]>();
const DIVERTS = new WeakMap<readonly Endpoint[], readonly Chain[]>();

function divertChains(own: readonly Endpoint[]): readonly Chain[] {
  const pods = own.filter(isPlugged);
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
  const known = LATEST_CHAINS.get(cluster.lineage);
  if (known !== undefined && sameItems(known.onHost, onHost)) return known.chains;
  const chains = chainsOf(onHost);
  LATEST_CHAINS.set(cluster.lineage, { onHost, chains });
  return chains;
}

/** Those of the node that was asked for last. */
const LATEST_CHAINS = new WeakMap<
  WeakKey,
  { readonly onHost: readonly RomanaPolicy[]; readonly chains: readonly Chain[] }
>();

/** The chains of an agent that renders these policies. */
function chainsOf(onHost: readonly RomanaPolicy[]): readonly Chain[] {
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

/** What the sets of a tenant were made of, and they. */
interface Tenant {
  readonly name: string;
  /** At least one, in order of address. */
  readonly blocks: readonly Block[];
  readonly segments: ReadonlyMap<string, { readonly blocks: readonly Block[]; readonly set: IPSet }>;
  readonly sets: readonly IPSet[];
  /** The list of the segments' sets; of blocks, when the first is of a segment without a name (`isLeftOut`). */
  readonly list: IPSet;
}

/** The sets of states that follow each other: a tenant none of whose blocks came or went keeps its. */
class LatestSets {
  #blocks: readonly Block[] = [];
  readonly #tenants = new Map<string, Tenant>();
  /** In the order of their first blocks. */
  readonly #order = new SortedAgain<Tenant>((a, b) => byAddress(a.blocks[0] as Block, b.blocks[0] as Block));
  #ordered: readonly Tenant[] = [];
  readonly #local = new Map<string, { readonly blocks: FilteredAgain<Block>; set: IPSet; of: readonly Block[] }>();
  /** For CIDR peers, which no NetworkPolicy becomes; made for every policy all the same. */
  readonly #ofPolicies = new MappedAgain<RomanaPolicy, IPSet>();

  of(policies: readonly RomanaPolicy[], blocks: readonly Block[], node: string): readonly IPSet[] {
    this.#takeIn(blocks);
    const ofPolicies = this.#ofPolicies.of(policies, (policy) => netSet(`${policyChain(policy)}_s`, [], policy.origin));
    const [ofSegments, lists]: [IPSet[], IPSet[]] = [[], []];
    for (const { sets, list } of this.#ordered) {
      for (let at = 0; at < sets.length; at++) ofSegments.push(sets[at] as IPSet);
      lists.push(list);
    }
    return ofPolicies.concat(ofSegments, this.#localBlocks(node), lists);
  }

  #takeIn(blocks: readonly Block[]): void {
    const change = listChange(this.#blocks, blocks);
    this.#blocks = blocks;
    const left = new Set(change.gone);
    const come = groupedBy(change.come, ({ tenant }) => tenant);
    const touched = new Set([...change.gone.map(({ tenant }) => tenant), ...come.keys()]);
    const tenants = { gone: [] as Tenant[], come: [] as Tenant[] };
    for (const name of touched) {
      const known = this.#tenants.get(name);
      if (known !== undefined) tenants.gone.push(known);
      const kept = (known?.blocks ?? []).filter((block) => !left.has(block));
      const members = this.#inOrder([...kept, ...(come.get(name) ?? [])]);
      if (members.length === 0) this.#tenants.delete(name);
      else {
        const tenant = tenantOf(name, members, known);
        tenants.come.push(tenant);
        this.#tenants.set(name, tenant);
      }
    }
    if (touched.size === 0) return;
    this.#ordered = this.#order.patched(tenants) ?? this.#order.of(this.#byAppearance());
  }

  #inOrder(blocks: readonly Block[]): readonly Block[] {
    const sorted = blocks.toSorted(byAddress);
    const hasEquals = sorted.some((block, at) => at > 0 && byAddress(sorted[at - 1] as Block, block) === 0);
    if (!hasEquals) return sorted;
    // Pods with one address: as the blocks of the cluster have them.
    const own = new Set(blocks);
    return this.#blocks.filter((block) => own.has(block));
  }

  #byAppearance(): readonly Tenant[] {
    return [...new Set(this.#blocks.map(({ tenant }) => tenant))].flatMap((name) => this.#tenants.get(name) ?? []);
  }

  #localBlocks(node: string): IPSet {
    const local = this.#local.get(node) ?? { blocks: new FilteredAgain<Block>(), set: localSet(node, []), of: [] };
    this.#local.set(node, local);
    const own = local.blocks.of(this.#blocks, ({ host }) => host === node);
    if (own !== local.of) [local.set, local.of] = [localSet(node, own), own];
    return local.set;
  }
}

function byAddress(a: Block, b: Block): number {
  return compareCidrs(a.cidr, b.cidr);
}

const LATEST_SETS = new WeakMap<WeakKey, LatestSets>();

function sets(cluster: ResolvedCluster, blocks: readonly Block[], node: string): readonly IPSet[] {
  const latest = rememberedBy(LATEST_SETS, cluster.lineage, () => new LatestSets());
  return latest.of(listPolicies(cluster).policies, blocks, node);
}

function localSet(node: string, blocks: readonly Block[]): IPSet {
  return netSet(LOCAL_BLOCKS, blocks, `node ${node}`);
}

function tenantOf(name: string, blocks: readonly Block[], known: Tenant | undefined): Tenant {
  const segments = new Map(
    Array.from(
      groupedBy(
        blocks.filter((block) => !isUnnamed(block)),
        ({ segment }) => segment,
      ),
      ([segment, own]) => {
        const before = known?.segments.get(segment);
        const isSame = before !== undefined && sameItems(before.blocks, own);
        return [
          segment,
          isSame ? before : { blocks: own, set: netSet(tenantSet(name, segment), own, `namespace ${name}`) },
        ] as const;
      },
    ),
  );
  const sets = Array.from(segments.values(), ({ set }) => set);
  return { name, blocks, segments, sets, list: ownSet(name, blocks, sets, known) };
}

/** A tenant's set, from those of its segments. */
function ownSet(name: string, blocks: readonly Block[], sets: readonly IPSet[], known: Tenant | undefined): IPSet {
  const [first] = blocks;
  if (first !== undefined && isUnnamed(first)) {
    return netSet(tenantSet(name, ""), blocks.filter(isUnnamed), `namespace ${name}`);
  }
  const list = listSet(
    name,
    sets.map((set) => set.name),
  );
  return known?.list.type === list.type && sameMembers(known.list, list) ? known.list : list;
}

/** What the agent adds to a tenant's set beside the members of its type, for where ipset has it in the other. */
function inOtherType(cluster: ResolvedCluster, set: IPSet): IPSet {
  const blocks = blocksOf(cluster).filter(({ tenant }) => tenantSet(tenant, "") === set.name);
  if (set.type === "list:set") return netSet(set.name, blocks.filter(isUnnamed), set.origin ?? "");
  const named = blocks.filter((block) => !isUnnamed(block));
  const names = new Set(named.map(({ tenant, segment }) => tenantSet(tenant, segment)));
  return listSet(blocks[0]?.tenant ?? "", [...names]);
}

function sameMembers(a: IPSet, b: IPSet): boolean {
  const names = ({ members }: IPSet) => members.map((member) => (member.kind === "set" ? member.set : ""));
  return sameItems(names(a), names(b));
}

function listSet(tenant: string, own: readonly string[]): IPSet {
  return {
    name: tenantSet(tenant, ""),
    type: "list:set",
    family: 4,
    members: own.map((set) => ({ kind: "set", set })),
    options: {},
    origin: `namespace ${tenant}`,
  };
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
