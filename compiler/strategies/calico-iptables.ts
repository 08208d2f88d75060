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
import { cidrOf, formatCidr, hostCidr, parseAddress, parseCidr } from "../../dataplane/address.ts";
import { parseProtocol } from "../../dataplane/packet.ts";
import type { Attachment, IPSet, IPSetMember, TableProgram } from "../../dataplane/program.ts";
import { routedAttachment } from "../attachment.ts";
import { DIRECTIONS, type Endpoint } from "../model.ts";
import type { ResolvedCluster } from "../resolve.ts";
import { keepingFamilies, plannedController } from "../update/controller.ts";
import { deviations } from "./calico-iptables/deviations.ts";
import { endpointChains } from "./calico-iptables/endpointChains.ts";
import { livePods } from "./calico-iptables/livePods.ts";
import { interfaceName, setName } from "./calico-iptables/names.ts";
import { type CalicoRule, calicoRules, ruleSets } from "./calico-iptables/policyRules.ts";
import {
  type EndpointToHostAction,
  filterTable,
  mangleTable,
  natTable,
  rawTable,
} from "./calico-iptables/staticChains.ts";
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
    const cluster = livePods(given);
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
        return {
          family,
          tables: [
            rawTable(),
            mangleTable(host),
            natTable(host),
            filterTable(host, endpointChains(cluster, pods, family)),
          ],
        };
      }),
      attachment: attach(cluster, lowerOptions),
    };
  },
};

function attach(cluster: ResolvedCluster, { node }: LowerOptions): Attachment {
  return routedAttachment(cluster, {
    node,
    pods: livePods(cluster).podsOn(node),
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

function mentionsIpv6({ model }: ResolvedCluster): boolean {
  return (
    model.endpoints.some(({ addresses }) => addresses.some(({ family }) => family === 6)) ||
    model.policies.some(({ ingress, egress }) =>
      [...ingress, ...egress].some(({ peers }) =>
        peers.some((peer) => peer.kind === "ipBlock" && peer.cidr.family === 6),
      ),
    )
  );
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
  const podAddresses = cluster.pods.flatMap((pod) => pod.addresses);
  const podCidrs = cluster.model.nodes.flatMap((node) => node.podCidrs);
  return ([4, 6] as const).flatMap((family) => {
    const around = ({ words }: Pick<Cidr, "words">) => cidrOf({ family, words }, family === 4 ? 16 : 32);
    const pods = podAddresses.filter((address) => address.family === family).map(around);
    const nodes = podCidrs.filter((cidr) => cidr.family === family).map(around);
    return mostFrequent(pods) ?? mostFrequent(nodes) ?? [];
  });
}

/** Of several the first. */
function mostFrequent(cidrs: readonly Cidr[]): Cidr | undefined {
  const counts = new Map<string, { readonly cidr: Cidr; count: number }>();
  for (const cidr of cidrs) {
    const known = counts.get(formatCidr(cidr)) ?? { cidr, count: 0 };
    known.count++;
    counts.set(formatCidr(cidr), known);
  }
  return [...counts.values()].reduce<{ readonly cidr: Cidr; count: number } | undefined>(
    (most, one) => (most === undefined || one.count > most.count ? one : most),
    undefined,
  )?.cidr;
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
  const own = [...nodeAddresses(cluster, node), ...LOOPBACK].filter((address) => address.family === family);
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

const LOOPBACK = ["127.0.0.0", "127.0.0.1", "::1"].flatMap((text) => parseAddress(text) ?? []);

/** The sets of every policy that selects an endpoint of this node; equal selectors share one. */
function policySets(cluster: ResolvedCluster, node: string, family: Family): readonly IPSet[] {
  const local = new Set(cluster.podsOn(node));
  const found = new Map<string, IPSet>();
  const add = (id: string, type: IPSet["type"], rule: CalicoRule, members: () => readonly IPSetMember[]) => {
    const name = setName(family, id);
    if (found.has(name)) return;
    found.set(name, { name, type, family, members: members(), options: SET_OPTIONS, origin: rule.origin });
  };
  for (const resolved of cluster.policies) {
    if (!resolved.subjects.some((pod) => local.has(pod))) continue;
    for (const direction of DIRECTIONS) {
      for (const rule of calicoRules(resolved, direction)) {
        const { selectorId, namedPortIds } = ruleSets(rule, direction);
        const members = rule.peer?.kind === "pods" ? rule.peer.members : [];
        if (selectorId !== undefined) add(selectorId, "hash:net", rule, () => addressMembers(members, family));
        const destinations = direction === "egress" && rule.peer?.kind === "pods" ? members : cluster.pods;
        for (const [index, id] of namedPortIds.entries()) {
          const port = rule.names[index] ?? "";
          add(id, "hash:ip,port", rule, () =>
            portMembers(destinations, { family, port, protocol: rule.protocol ?? "" }),
          );
        }
      }
    }
  }
  return [...found.values()];
}

function addressMembers(pods: readonly Endpoint[], family: Family): readonly IPSetMember[] {
  return pods.flatMap(({ addresses }) => addresses.filter((address) => address.family === family).map(memberOf));
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

/** Ports of init containers count as well (libcalico-go workload endpoint conversion). */
function portMembers(
  pods: readonly Endpoint[],
  { family, port, protocol }: { readonly family: Family; readonly port: string; readonly protocol: string },
): readonly IPSetMember[] {
  const members = new Map<string, IPSetMember>();
  for (const { addresses, ports, key } of pods) {
    for (const declared of ports) {
      if (declared.name !== port || declared.protocol.toLowerCase() !== protocol) continue;
      for (const address of addresses) {
        if (address.family !== family) continue;
        members.set(`${key} ${address.words.join(".")} ${declared.port}`, {
          kind: "netPort",
          cidr: hostCidr(address),
          protocol: parseProtocol(protocol) ?? 0,
          port: declared.port,
        });
      }
    }
  }
  return [...members.values()];
}
