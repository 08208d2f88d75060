/**
 * calico-iptables: Felix in iptables mode, as an ordinary Kubernetes install runs it (one tier, namespace and service
 * account profiles, no host endpoints).
 *
 *   FORWARD -> cali-FORWARD  -i cali+ -> from-wl-dispatch -> cali-fw-X: policies of the source's egress
 *                            -o cali+ -> to-wl-dispatch   -> cali-tw-X: policies of the destination's ingress
 *           at the bottom:   mark Accept -> ACCEPT
 *
 * An endpoint's chain returns with the Accept mark or drops; nothing is accepted before both ends agree, but for
 * established connections, which the first chain accepts.
 */
import type { Cidr, Family, IpAddress } from "../../dataplane/address.ts";
import { cidrOf, hostCidr, parseCidr } from "../../dataplane/address.ts";
import { parseProtocol } from "../../dataplane/packet.ts";
import type { Attachment, IPSet, IPSetMember, TableProgram } from "../../dataplane/program.ts";
import { mentionsIpv6 } from "../addressFamilies.ts";
import { CountedAgain, rememberedBy } from "../again.ts";
import { routedAttachment } from "../attachment.ts";
import { type ClusterNode, DIRECTIONS, type Direction, type Endpoint } from "../model.ts";
import type { ResolvedCluster, ResolvedPolicy } from "../resolve.ts";
import { unlabelled } from "../unlabelled.ts";
import { keepingFamilies, plannedController } from "../update/controller.ts";
import { calicoView } from "./calico-iptables/calicoLabels.ts";
import { deviations } from "./calico-iptables/deviations.ts";
import { endpointChains } from "./calico-iptables/endpointChains.ts";
import { interfaceName, setName } from "./calico-iptables/names.ts";
import { type CalicoRule, calicoRules, ruleSets } from "./calico-iptables/policyRules.ts";
import { chainOrder, type EndpointToHostAction, hostTables } from "./calico-iptables/staticChains.ts";
import { planFelix } from "./calico-iptables/update.ts";
import { InvalidSetting, type LowerOptions, type Strategy, type StrategyOption, settingOf } from "./strategy.ts";

/** MaxIPSetSize of the Felix configuration. */
const SET_OPTIONS = { maxElements: 1_048_576 };

const options: readonly StrategyOption[] = [
  {
    name: "endpoint-to-host",
    default: "ACCEPT",
    summary: "DefaultEndpointToHostAction: ACCEPT (as the manifests set it), DROP or RETURN",
  },
  {
    name: "ip-pools",
    default: "auto",
    summary:
      "CIDRs of the IP pools, comma separated; auto: the /16 (IPv4) and /32 (IPv6) that most pods are in, or else the nodes' podCIDRs",
  },
  { name: "ipv6", default: "auto", summary: "on, off, or auto: on when the cluster mentions IPv6" },
];

export const calicoIptables: Strategy = {
  name: "calico-iptables",
  summary: "Calico's Felix in iptables mode: a chain per endpoint, direction and policy; shared selector sets",
  sources: [
    "projectcalico/calico 87c15906 felix/rules/{policy,endpoints,dispatch,static}.go",
    "projectcalico/calico 87c15906 felix/iptables/{match_builder,actions,renderer}.go, felix/generictables/rules.go",
    "projectcalico/calico 87c15906 libcalico-go/lib/backend/k8s/conversion/conversion.go, felix/calc/rule_scanner.go",
  ],
  unsupported: [],
  deviations,
  lapses: [],
  denyVerdict: "drop",
  options,
  attach,
  follow: (cluster, lowerOptions) =>
    plannedController(cluster, {
      strategy: keepingFamilies(calicoIptables, ["ipv6", "on"]),
      options: lowerOptions,
      plan: planFelix,
    }),
  lower(given: ResolvedCluster, lowerOptions: LowerOptions): TableProgram {
    const cluster = unlabelled(calicoView(given));
    const { node } = lowerOptions;
    const pods = cluster.podsOn(node);
    const pools = ipPools(cluster, settingOf(calicoIptables, lowerOptions, "ip-pools"));
    const endpointToHost = hostAction(settingOf(calicoIptables, lowerOptions, "endpoint-to-host"));
    const families = familiesOn(cluster, settingOf(calicoIptables, lowerOptions, "ipv6"));
    return {
      kind: "tables",
      strategy: calicoIptables.name,
      node,
      sets: families.flatMap((family) => sets(cluster, { node, family, pools })),
      families: families.map((family) => {
        const host = { family, endpointToHost, masquerade: family === 4 && pools.length > 0 ? "on" : "off" } as const;
        const order = rememberedBy(ORDERS[family], cluster.lineage, chainOrder);
        return { family, tables: hostTables(host, endpointChains(cluster, pods, family), order) };
      }),
      attachment: attach(cluster, lowerOptions),
    };
  },
};

const ORDERS = {
  4: new WeakMap<WeakKey, ReturnType<typeof chainOrder>>(),
  6: new WeakMap<WeakKey, ReturnType<typeof chainOrder>>(),
} as const satisfies Record<Family, unknown>;

function attach(cluster: ResolvedCluster, { node }: LowerOptions): Attachment {
  return routedAttachment(cluster, {
    node,
    pods: calicoView(cluster).podsOn(node),
    interfaceOf: interfaceName,
  });
}

function nodeAddresses(cluster: ResolvedCluster, node: string): readonly IpAddress[] {
  return cluster.model.nodes.find(({ name }) => name === node)?.addresses ?? [];
}

function hostAction(text: string): EndpointToHostAction {
  if (text === "ACCEPT" || text === "DROP" || text === "RETURN") return text;
  throw new InvalidSetting("endpoint-to-host", text, "ACCEPT, DROP or RETURN");
}

function familiesOn(cluster: ResolvedCluster, setting: string): readonly Family[] {
  if (setting !== "on" && setting !== "off" && setting !== "auto")
    throw new InvalidSetting("ipv6", setting, "on, off or auto");
  return setting === "on" || (setting === "auto" && mentionsIpv6(cluster)) ? [4, 6] : [4];
}

/** The pools are not in any manifest of Kubernetes; an install has one a family around all pods. */
function ipPools(cluster: ResolvedCluster, setting: string): readonly Cidr[] {
  if (setting !== "auto") {
    return setting.split(",").map((text) => {
      const cidr = parseCidr(text.trim());
      if (cidr === undefined) throw new InvalidSetting("ip-pools", text, "address prefixes such as 10.10.0.0/16");
      return cidr;
    });
  }
  const latest = rememberedBy(POOLS, cluster.lineage, () => ({
    4: new CountedAgain<Endpoint, number>(),
    6: new CountedAgain<Endpoint, number>(),
  }));
  return ([4, 6] as const).flatMap((family) => {
    const ofPods = {
      items: cluster.pods,
      prefixesOf: ({ addresses }: Endpoint) => poolsAround(addresses, family),
      counter: latest[family],
    };
    const ofNodes = {
      items: cluster.model.nodes,
      prefixesOf: ({ podCidrs }: ClusterNode) => poolsAround(podCidrs, family),
      counter: new CountedAgain<ClusterNode, number>(),
    };
    const prefix = mostFrequent(ofPods) ?? mostFrequent(ofNodes);
    if (prefix === undefined) return [];
    return family === 4 ? cidrOf({ family, words: [prefix] }, 16) : cidrOf({ family, words: [prefix, 0, 0, 0] }, 32);
  });
}

const POOLS = new WeakMap<WeakKey, Record<Family, CountedAgain<Endpoint, number>>>();

/** The first word of the /16 or /32 around each address. */
function poolsAround(addresses: readonly Pick<Cidr, "family" | "words">[], family: Family): readonly number[] {
  const own = addresses.filter((address) => address.family === family);
  return own.map(({ words }) => (words[0] ?? 0) & (family === 4 ? ~0xffff : ~0));
}

/** Of several the first. */
function mostFrequent<T>({
  items,
  prefixesOf,
  counter,
}: {
  readonly items: readonly T[];
  readonly prefixesOf: (item: T) => readonly number[];
  readonly counter: CountedAgain<T, number>;
}): number | undefined {
  const counts = counter.of(items, prefixesOf);
  if (counts.size === 0) return undefined;
  const most = Math.max(...counts.values());
  for (const item of items) {
    const prefix = prefixesOf(item).find((one) => counts.get(one) === most);
    if (prefix !== undefined) return prefix;
  }
  return undefined;
}

interface SetContext {
  readonly node: string;
  readonly family: Family;
  readonly pools: readonly Cidr[];
}

function sets(cluster: ResolvedCluster, { node, family, pools }: SetContext): readonly IPSet[] {
  const net = (id: string, cidrs: readonly Cidr[], origin: string): IPSet => ({
    name: setName(family, id),
    type: "hash:net",
    family,
    members: cidrs.filter((cidr) => cidr.family === family).map((cidr) => ({ kind: "net", cidr })),
    options: SET_OPTIONS,
    origin,
  });
  const own = [...nodeAddresses(cluster, node).filter((address) => address.family === family), ...LOOPBACK[family]];
  return [
    {
      name: setName(family, "this-host"),
      type: "hash:ip",
      family,
      members: own.map((address) => ({ kind: "net", cidr: hostCidr(address) })),
      options: SET_OPTIONS,
      origin: `node ${node}`,
    },
    net("network-ip-pools", pools, "IP pools"),
    net("masq-ipam-pools", family === 4 ? pools : [], "IP pools that are masqueraded"),
    net("dscp-src-net", [], "endpoints with a DSCP mark"),
    ...policySets(cluster, node, family),
  ];
}

/** 127.0.0.0, 127.0.0.1, ::1: as words, since the first IPv6 text to be read takes milliseconds. */
const LOOPBACK: Readonly<Record<Family, readonly IpAddress[]>> = {
  4: [
    { family: 4, words: [0x7f00_0000] },
    { family: 4, words: [0x7f00_0001] },
  ],
  6: [{ family: 6, words: [0, 0, 0, 1] }],
};

/** The sets of every policy that selects an endpoint of this node; equal selectors share one. */
function policySets(cluster: ResolvedCluster, node: string, family: Family): readonly IPSet[] {
  const local = new Set(cluster.podsOn(node));
  const selecting = new Map<readonly Endpoint[], boolean>();
  const selectsLocal = ({ subjects }: ResolvedPolicy): boolean => {
    const selects = selecting.get(subjects) ?? subjects.some((pod) => local.has(pod));
    selecting.set(subjects, selects);
    return selects;
  };
  const found = new Map<string, IPSet>();
  const put = (set: IPSet) => {
    if (!found.has(set.name)) found.set(set.name, set);
  };
  for (const resolved of cluster.policiesIn(new Set([...local].map(({ namespace }) => namespace)))) {
    if (!selectsLocal(resolved)) continue;
    for (const direction of DIRECTIONS) {
      for (const rule of calicoRules(resolved, direction)) {
        const { namedPortIds } = ruleSets(rule, direction);
        const own = selectorSet(rule, direction, family);
        if (own !== undefined) put(own);
        const destinations = direction === "egress" && rule.peer?.kind === "pods" ? rule.peer.members : cluster.pods;
        for (const [index, id] of namedPortIds.entries()) {
          const name = setName(family, id);
          if (found.has(name)) continue;
          const port: NamedPort = { family, port: rule.names[index] ?? "", protocol: rule.protocol ?? "" };
          const members = portMembers(destinations, port);
          put({ name, type: "hash:ip,port", family, members, options: SET_OPTIONS, origin: rule.origin });
        }
      }
    }
  }
  return [...found.values()];
}

const SELECTOR_SETS = new WeakMap<CalicoRule, Map<Family, IPSet>>();

/** One object for a rule in all states: an update finds by identity what changed. */
function selectorSet(rule: CalicoRule, direction: Direction, family: Family): IPSet | undefined {
  const { selectorId } = ruleSets(rule, direction);
  if (selectorId === undefined) return undefined;
  const sets = rememberedBy(SELECTOR_SETS, rule, () => new Map<Family, IPSet>());
  const set: IPSet = sets.get(family) ?? {
    name: setName(family, selectorId),
    type: "hash:net",
    family,
    members: rule.peer?.kind === "pods" ? addressMembers(rule.peer.members, family) : [],
    options: SET_OPTIONS,
    origin: rule.origin,
  };
  sets.set(family, set);
  return set;
}

const ADDRESS_MEMBERS = {
  4: new WeakMap<readonly Endpoint[], readonly IPSetMember[]>(),
  6: new WeakMap<readonly Endpoint[], readonly IPSetMember[]>(),
} as const satisfies Record<Family, unknown>;

function addressMembers(pods: readonly Endpoint[], family: Family): readonly IPSetMember[] {
  return rememberedBy(ADDRESS_MEMBERS[family], pods, () =>
    pods.flatMap(({ addresses }) => addresses.filter((address) => address.family === family).map(memberOf)),
  );
}

const MEMBERS = new WeakMap<IpAddress, IPSetMember>();

/** One object for an address in all sets of all states: an update finds what changed by identity. */
function memberOf(address: IpAddress): IPSetMember {
  let member = MEMBERS.get(address);
  if (member === undefined) {
    member = { kind: "net", cidr: hostCidr(address) };
    MEMBERS.set(address, member);
  }
  return member;
}

interface NamedPort {
  readonly family: Family;
  readonly port: string;
  /** Lower case. */
  readonly protocol: string;
}

const PORT_MEMBERS = new WeakMap<readonly Endpoint[], Map<string, readonly IPSetMember[]>>();
const PORTS_OF_POD = new WeakMap<Endpoint, Map<string, readonly IPSetMember[]>>();

/** Who answers to a port's name among the destinations. */
function portMembers(pods: readonly Endpoint[], named: NamedPort): readonly IPSetMember[] {
  const key = `${named.family} ${named.protocol} ${named.port}`;
  const lists = rememberedBy(PORT_MEMBERS, pods, () => new Map<string, readonly IPSetMember[]>());
  const known = lists.get(key) ?? pods.flatMap((pod) => portsOfPod(pod, key, named));
  lists.set(key, known);
  return known;
}

/** Ports of init containers count as well (libcalico-go workload endpoint conversion). */
function portsOfPod(pod: Endpoint, key: string, { family, port, protocol }: NamedPort): readonly IPSetMember[] {
  const own = rememberedBy(PORTS_OF_POD, pod, () => new Map<string, readonly IPSetMember[]>());
  let members = own.get(key);
  if (members === undefined) {
    const found = new Map<string, IPSetMember>();
    for (const declared of pod.ports) {
      if (declared.name !== port || declared.protocol.toLowerCase() !== protocol) continue;
      for (const address of pod.addresses) {
        if (address.family !== family) continue;
        found.set(`${address.words.join(".")} ${declared.port}`, {
          kind: "netPort",
          cidr: hostCidr(address),
          protocol: parseProtocol(protocol) ?? 0,
          port: declared.port,
        });
      }
    }
    members = [...found.values()];
    own.set(key, members);
  }
  return members;
}
