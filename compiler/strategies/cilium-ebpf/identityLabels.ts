/**
 * Which labels make an identity. Labels that tell replicas apart are kept out, and with them every selector that asks
 * for one: what Cilium matches is the identity, never the pod.
 *
 * Source: cilium v1.19.7 pkg/labelsfilter/filter.go, pkg/k8s/utils/utils.go SanitizePodLabels.
 */
import { clusterView } from "../../clusterView.ts";
import type { Labels } from "../../model.ts";

/** What a namespace's label is called as a label of its pods. */
export const NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels.";
/** Cilium's own labels; a pod that has one loses it. */
const OWN_LABELS = "io.cilium.k8s";

/** A label is kept when the longest of these that it begins with is longer than the shortest match of `IGNORED`. */
const INCLUDED = ["io.cilium.k8s.namespace.labels", "app.kubernetes.io"];
const IGNORED = [
  /^io\.kubernetes/,
  /^kubernetes\.io/,
  /^statefulset\.kubernetes\.io\/pod-name/,
  /^apps\.kubernetes\.io\/pod-index/,
  /^batch\.kubernetes\.io\/job-completion-index/,
  /^batch\.kubernetes\.io\/controller-uid/,
  /^.*beta\.kubernetes\.io/,
  /^k8s\.io/,
  /^pod-template-generation/,
  /^pod-template-hash/,
  /^controller-revision-hash/,
  /^controller-uid/,
  /^annotation.*/,
  /^etcd_node/,
  /^topology\.kubernetes\.io/,
];

function isIdentityLabel(key: string): boolean {
  const ignored = IGNORED.flatMap((pattern) => pattern.exec(key)?.[0].length ?? []);
  if (ignored.length === 0) return true;
  const included = INCLUDED.filter((prefix) => key.startsWith(prefix)).map((prefix) => prefix.length);
  return Math.max(0, ...included) > Math.min(...ignored);
}

/** The same map when it has no other labels. */
function kept(labels: Labels, isKept: (key: string) => boolean): Labels {
  const keys = [...labels.keys()];
  return keys.every(isKept) ? labels : new Map([...labels].filter(([key]) => isKept(key)));
}

const isPodLabel = (key: string) => !key.startsWith(OWN_LABELS) && isIdentityLabel(key);
const isNamespaceLabel = (key: string) => isIdentityLabel(`${NAMESPACE_LABELS}${key}`);

/** The cluster with the labels of identities alone. */
export const identityView = clusterView({
  seeEndpoint: (pod) => {
    const labels = kept(pod.labels, isPodLabel);
    return labels === pod.labels ? pod : { ...pod, labels };
  },
  seeNamespace: (namespace) => {
    const labels = kept(namespace.labels, isNamespaceLabel);
    return labels === namespace.labels ? namespace : { ...namespace, labels };
  },
});
