/**
 * translate: a NetworkPolicy as Romana's listener understands it, in Romana's own terms. It reads extensions/v1beta1:
 * ingress only, no ipBlock, no endPort, no policyTypes, and of selectors only the segment label. What it cannot express
 * it widens; it never refuses.
 *
 * Source: romana/core listener/translate.go, listener/resources.go, agent/policyhasher/hasher.go.
 */
import { LRUCache } from "lru-cache";
import { rememberedBy } from "../../again.ts";
import { sha1, toHex } from "../../hash.ts";
import type { LabelSelector, Namespace, NetworkPolicy, PolicyPeer, PolicyRule } from "../../model.ts";
import { isolationOf } from "./annotation.ts";
import { SEGMENT_LABEL } from "./blocks.ts";

/** The key that a namespaceSelector must use to name a tenant (kubelistener/config/tenantLabelName). */
const TENANT_LABEL = "namespace";
/** The annotation the code looks for; Kubernetes' own, long gone, was spelled `network-policy`. */
const ISOLATION_ANNOTATION = "net.beta.kubernetes.io/networkpolicy";

/** `peer` "any", or a tenant with or without a segment. */
export interface RomanaEndpoint {
  readonly peer: "any" | "";
  readonly tenant: string;
  readonly segment: string;
}

export interface RomanaRule {
  /** `tcp`, `udp`, `sctp` or `any`. */
  readonly protocol: string;
  /** Undefined: every port. 0 where the policy names a port. */
  readonly port: number | undefined;
}

export interface RomanaIngress {
  readonly peers: readonly RomanaEndpoint[];
  readonly rules: readonly RomanaRule[];
}

export interface RomanaPolicy {
  readonly id: string;
  readonly target: RomanaEndpoint;
  readonly ingress: readonly RomanaIngress[];
  readonly origin: string;
}

export function translatePolicy(policy: NetworkPolicy): RomanaPolicy {
  return {
    id: `kube.${policy.namespace}.${policy.name}.${policy.uid}`,
    target: tenant(policy.namespace, segmentLabel(policy.podSelector) ?? ""),
    ingress: policy.ingress.map((rule) => translateRule(policy, rule)),
    origin: policy.key,
  };
}

function translateRule(policy: NetworkPolicy, rule: PolicyRule): RomanaIngress {
  return {
    peers: rule.peers.length === 0 ? [ANY] : rule.peers.map((peer) => translatePeer(policy, peer)),
    rules:
      rule.ports.length === 0
        ? [{ protocol: "any", port: undefined }]
        : rule.ports.map(({ protocol, port }) => ({
            protocol: protocol.toLowerCase(),
            // IntOrString.IntValue() of a name is 0.
            port: typeof port === "string" ? 0 : port,
          })),
  };
}

/** A peer in Romana's terms: a tenant, perhaps with a segment. */
export function translatePeer(policy: NetworkPolicy, peer: PolicyPeer): RomanaEndpoint {
  // An ipBlock is an unknown field: a peer with nothing else in it means the policy's own namespace.
  if (peer.kind === "ipBlock") return tenant(policy.namespace, "");
  const named = peer.namespaceSelector?.matchLabels.find(([key]) => key === TENANT_LABEL)?.[1];
  return tenant(
    named || policy.namespace,
    peer.podSelector === undefined ? "" : (segmentLabel(peer.podSelector) ?? ""),
  );
}

const ANY: RomanaEndpoint = { peer: "any", tenant: "", segment: "" };

function tenant(name: string, segment: string): RomanaEndpoint {
  return { peer: "", tenant: name, segment };
}

function segmentLabel(selector: LabelSelector): string | undefined {
  return selector.matchLabels.find(([key]) => key === SEGMENT_LABEL)?.[1];
}

/** The policy that keeps a namespace open, for each namespace whose annotation does not ask for DefaultDeny. */
export function defaultPolicy(namespace: Namespace): RomanaPolicy | undefined {
  const isolation = isolationAsked(namespace);
  // An annotation that cannot be decoded is logged, and neither policy nor isolation follows: that isolates too.
  if (isolation === undefined || isolation === "DefaultDeny") return undefined;
  return {
    id: `AllowAllPods2Talk_${namespace.uid}_`,
    target: tenant(namespace.name, ""),
    ingress: [{ peers: [ANY], rules: [{ protocol: "any", port: undefined }] }],
    origin: `namespace ${namespace.name}`,
  };
}

/** Empty without the annotation; undefined when it cannot be decoded. */
export function isolationAsked({ annotations }: Namespace): string | undefined {
  const annotation = annotations.get(ISOLATION_ANNOTATION);
  return annotation === undefined ? "" : isolationOf(annotation);
}

/** `ROMANA-P-` and 16 hex digits of the SHA-1 over the policy's canonical form. */
export function policyChain(policy: RomanaPolicy): string {
  return rememberedBy(CHAINS, policy, chainOf);
}

const CHAINS = new WeakMap<RomanaPolicy, string>();

function chainOf(policy: RomanaPolicy): string {
  const parts = [`ingress..${policy.id}`, endpointText(policy.target)];
  for (const { peers, rules } of policy.ingress) {
    parts.push(...peers.map(endpointText).sort());
    // Protocol, ICMP type and code, statefulness, ports.
    parts.push(...rules.map(({ protocol, port }) => `${protocol}00false${port ?? ""}`));
  }
  return `ROMANA-P-${toHex(sha1(parts.join("."))).slice(0, 16)}`;
}

function endpointText({ peer, tenant: name, segment }: RomanaEndpoint): string {
  return `${peer}${name}${segment}`;
}

/** The set of a tenant's blocks, or of one of its segments'. */
export function tenantSet(name: string, segment: string): string {
  const text = segment === "" ? `tenant_${name}` : `tenant_${name}_segment_${segment}`;
  // The name is a hash of a list with one hash input in it.
  const set = SETS.get(text) ?? `ROMANA-${toHex(sha1(text)).slice(0, 16)}`;
  SETS.set(text, set);
  return set;
}

/** Asked for by every policy and every state. */
const SETS = new LRUCache<string, string>({ max: 16_384 });
