/** Needs as NetworkPolicies: few rules, nothing beside what was seen. */
import type { Endpoint } from "../../compiler/model.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import {
  addressesEqual,
  type Cidr,
  cidrOf,
  compareAddresses,
  formatCidr,
  hostCidr,
  type IpAddress,
} from "../../dataplane/address.ts";
import { workloadOf } from "../workload.ts";
import { fewestRectangles } from "./cover.ts";
import type { PeerNeed, SubjectNeed } from "./needs.ts";
import { type PeerObject, type PortObject, pruned, type RuleObject, type SeenNeed } from "./prune.ts";
import { workloadSelector } from "./selector.ts";

/** A NetworkPolicy as an object of the API, with what there is to say about it. */
export interface SuggestedPolicy {
  readonly object: PolicyObject;
  /** `namespace/name`. */
  readonly key: string;
  readonly rules: number;
  /** For people: whom it is for, what it selects beside. */
  readonly remarks: readonly string[];
}

export interface PolicyObject {
  readonly apiVersion: "networking.k8s.io/v1";
  readonly kind: "NetworkPolicy";
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly podSelector: Selector;
    readonly policyTypes: readonly ("Ingress" | "Egress")[];
    readonly ingress?: readonly RuleObject[];
    readonly egress?: readonly RuleObject[];
  };
}

type Selector = { readonly matchLabels?: Readonly<Record<string, string>> };

const TYPE = { ingress: "Ingress", egress: "Egress" } as const;

/** One policy a workload, of which nothing can be taken away. `taken` are names that policies of the cluster have (`namespace/name`). */
export function suggestPolicies(
  { subjects: needs, seen }: { readonly subjects: Iterable<SubjectNeed>; readonly seen: Iterable<SeenNeed> },
  cluster: ResolvedCluster,
  taken: ReadonlySet<string>,
): readonly SuggestedPolicy[] {
  const workloads = new Map<string, SubjectNeed[]>();
  for (const need of needs) {
    const own = workloads.get(need.workload);
    if (own === undefined) workloads.set(need.workload, [need]);
    else own.push(need);
  }
  const used = new Set(taken);
  const policies = [...workloads]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([workload, own]) => policyFor(workload, own, cluster, used));
  return pruned(policies, seen);
}

function policyFor(
  workload: string,
  needs: readonly SubjectNeed[],
  cluster: ResolvedCluster,
  used: Set<string>,
): SuggestedPolicy {
  const [namespace = "", workloadName = ""] = workload.split("/");
  const name = freeName(`allow-seen-${workloadName}`, namespace, used);
  const subject = selectorOf(workload, cluster);
  const remarks = subject.remarks;
  let rules = 0;
  const sections: { ingress?: readonly RuleObject[]; egress?: readonly RuleObject[] } = {};
  for (const direction of ["ingress", "egress"] as const) {
    const need = needs.find((each) => each.direction === direction);
    if (need === undefined) continue;
    const made = rulesFor(need, cluster);
    sections[direction] = made.rules;
    rules += made.rules.length;
    remarks.push(`${direction}: ${need.flows} ${need.flows === 1 ? "flow" : "flows"}`, ...made.remarks);
  }
  const types = needs.map(({ direction }) => TYPE[direction]);
  const object: PolicyObject = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace },
    spec: {
      podSelector: subject.selector,
      policyTypes: (["Ingress", "Egress"] as const).filter((type) => types.includes(type)),
      ...sections,
    },
  };
  return { object, key: `${namespace}/${name}`, rules, remarks };
}

/** A name that nobody has, of at most 253 characters (RFC 1123 subdomain). */
function freeName(wanted: string, namespace: string, used: Set<string>): string {
  const base = wanted.slice(0, 240);
  for (let number = 1; ; number++) {
    const name = number === 1 ? base : `${base}-${number}`;
    if (used.has(`${namespace}/${name}`)) continue;
    used.add(`${namespace}/${name}`);
    return name;
  }
}

interface Selected {
  readonly selector: Selector;
  readonly remarks: string[];
}

function selectorOf(workload: string, cluster: ResolvedCluster): Selected {
  const [namespace] = workload.split("/");
  const all = cluster.model.endpoints.filter((pod) => pod.namespace === namespace);
  const pods = all.filter((pod) => workloadOf(pod) === workload);
  const { labels, strangers } = workloadSelector(pods, all);
  return {
    selector: labels.length === 0 ? {} : { matchLabels: Object.fromEntries(labels) },
    remarks: strangersRemark(workload, strangers),
  };
}

const SHOWN_STRANGERS = 3;

function strangersRemark(workload: string, strangers: readonly Endpoint[]): string[] {
  if (strangers.length === 0) return [];
  const names = strangers.slice(0, SHOWN_STRANGERS).map(({ key }) => key);
  return [
    `no labels tell ${workload} from ${names.join(", ")}${strangers.length > SHOWN_STRANGERS ? " and others" : ""}: they are selected too`,
  ];
}

function rulesFor(
  { namespace, direction, peers }: SubjectNeed,
  cluster: ResolvedCluster,
): { readonly rules: readonly RuleObject[]; readonly remarks: readonly string[] } {
  const list = [...peers].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
  const remarks = new Set<string>();
  const rules = fewestRectangles(list.map(({ ports }) => ports)).map(({ rows, ports }) => {
    const chosen = rows.flatMap((row) => list[row]?.peer ?? []);
    const made = peerObjects(chosen, namespace, cluster);
    for (const remark of made.remarks) remarks.add(remark);
    return {
      [direction === "ingress" ? "from" : "to"]: made.peers,
      ports: ports
        .map(portObject)
        .sort((a, b) => (a.protocol < b.protocol ? -1 : a.protocol > b.protocol ? 1 : a.port - b.port)),
    };
  });
  return { rules, remarks: [...remarks] };
}

function portObject(text: string): PortObject {
  const [protocol = "", port] = text.split("/");
  return { protocol, port: Number(port) };
}

function peerObjects(
  peers: readonly PeerNeed[],
  namespace: string,
  cluster: ResolvedCluster,
): { readonly peers: readonly PeerObject[]; readonly remarks: readonly string[] } {
  const remarks: string[] = [];
  const objects: PeerObject[] = [];
  const addresses: IpAddress[] = [];
  for (const peer of peers) {
    if (peer.kind === "address") {
      addresses.push(peer.address);
      continue;
    }
    const { selector, remarks: own } = selectorOf(peer.workload, cluster);
    const [peerNamespace = ""] = peer.workload.split("/");
    remarks.push(...own);
    objects.push({
      ...(peerNamespace !== namespace && {
        namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": peerNamespace } },
      }),
      podSelector: selector,
    });
  }
  return { peers: [...objects, ...blocksOf(addresses).map((cidr) => ({ ipBlock: { cidr } }))], remarks };
}

/** Exactly these addresses, as few blocks as they make: neighbours of one size become the block of twice the size. */
function blocksOf(addresses: readonly IpAddress[]): readonly string[] {
  const blocks: Cidr[] = [];
  // In order: what makes a pair with a block that ends here is the block before it.
  for (const address of [...addresses].sort(compareAddresses)) {
    let block = hostCidr(address);
    for (let before = blocks.at(-1); before !== undefined && arePair(before, block); before = blocks.at(-1)) {
      blocks.pop();
      block = cidrOf(block, block.prefixLength - 1);
    }
    blocks.push(block);
  }
  return blocks.map(formatCidr);
}

/** The two halves of one block. */
function arePair(a: Cidr, b: Cidr): boolean {
  if (a.prefixLength !== b.prefixLength || addressesEqual(a, b)) return false;
  return addressesEqual(cidrOf(a, a.prefixLength - 1), cidrOf(b, b.prefixLength - 1));
}

/** Isolates every pod of a namespace in both directions: what the suggested policies then open again. */
export function defaultDeny(namespace: string, taken: ReadonlySet<string>): SuggestedPolicy {
  const name = freeName("default-deny", namespace, new Set(taken));
  const object: PolicyObject = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace },
    spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"] },
  };
  return { object, key: `${namespace}/${name}`, rules: 0, remarks: ["what no policy below allows is refused"] };
}
