/**
 * Labels that Calico adds and takes. A pod gets those that say where it comes from, and loses those that would make it look
 * as if it inherited them; a namespace gets its name as one. A namespace's labels reach its pods as a profile's, with a
 * prefix; when that makes one of them too long for a label, the profile is invalid, and none of them does.
 *
 * Source: projectcalico/calico libcalico-go/lib/backend/k8s/conversion/{conversion,workload_endpoint_default}.go,
 * libcalico-go/lib/backend/syncersv1/updateprocessors/workloadendpointprocessor.go,
 * libcalico-go/lib/validator/v3/validator.go validateLabels, felix/calc/validation_filter.go.
 */
import { CountedAgain, rememberedBy } from "../../again.ts";
import { type ClusterEyes, clusterView } from "../../clusterView.ts";
import { DIRECTIONS, type Endpoint, type LabelSelector, type Namespace, type NetworkPolicy } from "../../model.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { seeUnplugged } from "./livePods.ts";
import { NAMESPACE_LABELS } from "./selector.ts";

const OWN = "projectcalico.org/";
const SERVICE_ACCOUNT_LABELS = "pcsa.";
/** What the name of a label may have at most, behind its prefix (metav1 IsQualifiedName). */
const LABEL_NAME_MAX = 63;
/** The prefix with its dots. */
const LABEL_PREFIX_MAX = 253;

function isInherited(key: string): boolean {
  return key.startsWith(NAMESPACE_LABELS) || key.startsWith(SERVICE_ACCOUNT_LABELS);
}

function labelled(pod: Endpoint): Endpoint {
  const own: (readonly [string, string])[] = [
    [`${OWN}namespace`, pod.namespace],
    [`${OWN}orchestrator`, "k8s"],
  ];
  if (pod.serviceAccount !== "") own.push([`${OWN}serviceaccount`, pod.serviceAccount]);
  const kept = [...pod.labels].filter(([key]) => !isInherited(key));
  if (kept.length === pod.labels.size && own.every(([key, value]) => pod.labels.get(key) === value)) return pod;
  return { ...pod, labels: new Map([...kept, ...own]) };
}

function named(namespace: Namespace): Namespace {
  const key = `${OWN}name`;
  if (namespace.labels.get(key) === namespace.name) return namespace;
  return { ...namespace, labels: new Map([...namespace.labels, [key, namespace.name]]) };
}

function isTooLong(key: string): boolean {
  const slash = key.indexOf("/");
  const [length, most] = slash < 0 ? [key.length, LABEL_NAME_MAX] : [slash, LABEL_PREFIX_MAX];
  return NAMESPACE_LABELS.length + length > most;
}

function valid(namespace: Namespace): Namespace {
  return [...namespace.labels.keys()].some(isTooLong) ? { ...namespace, labels: new Map() } : namespace;
}

const seeNamespace = (namespace: Namespace): Namespace => {
  const seen = valid(namespace);
  return seen === namespace ? named(namespace) : seen;
};

/** The labels are put on only where a selector asks for them: on all pods of a large cluster they are dear. */
function viewWhereAsked(unasked: ClusterEyes, asked: ClusterEyes) {
  const [plain, full] = [clusterView(unasked), clusterView(asked)];
  const views = new WeakMap<ResolvedCluster, ResolvedCluster>();
  return (given: ResolvedCluster): ResolvedCluster =>
    rememberedBy(views, given, (cluster) => (asksForOwn(cluster) ? full : plain)(cluster));
}

/** The cluster with Calico's labels. */
export const labelView = viewWhereAsked(
  { seeEndpoint: (pod) => pod, seeNamespace: valid },
  { seeEndpoint: labelled, seeNamespace },
);

/** The cluster as Calico sees it: with its labels, and without the addresses of unplugged pods. */
export const calicoView = viewWhereAsked(
  { seeEndpoint: seeUnplugged, seeNamespace: valid },
  { seeEndpoint: (pod) => labelled(seeUnplugged(pod)), seeNamespace },
);

const ASKING = new WeakMap<WeakKey, CountedAgain<NetworkPolicy, true>>();

function asksForOwn({ model, lineage }: ResolvedCluster): boolean {
  const counter = rememberedBy(ASKING, lineage, () => new CountedAgain<NetworkPolicy, true>());
  return counter.of(model.policies, (policy) => (asks(policy) ? ASKS : [])).size > 0;
}

const ASKS = [true] as const;

// Plain loops: in a large cluster this reads ten thousands of selectors, before any of it is compiled.
function asks(policy: NetworkPolicy): boolean {
  if (asksIn(policy.podSelector)) return true;
  for (const direction of DIRECTIONS) {
    for (const { peers } of policy[direction]) {
      for (const peer of peers) {
        if (peer.kind === "pods" && (asksIn(peer.podSelector) || asksIn(peer.namespaceSelector))) return true;
      }
    }
  }
  return false;
}

function asksIn(selector: LabelSelector | undefined): boolean {
  if (selector === undefined) return false;
  for (const pair of selector.matchLabels) if (isOwn(pair[0])) return true;
  for (const requirement of selector.matchExpressions) if (isOwn(requirement.key)) return true;
  return false;
}

/** All begin with a `p`, as few others do. */
function isOwn(key: string): boolean {
  return key.charCodeAt(0) === 0x70 && (key.startsWith(OWN) || isInherited(key));
}
