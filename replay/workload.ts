/** Which workload a pod is a replica of, told from what its controller wrote on it. */
import type { Endpoint, Labels } from "../compiler/model.ts";

/**
 * `namespace/name` of the Deployment, StatefulSet, DaemonSet or Job; of the pod itself when nothing made it.
 *
 * The labels are those that controllers set (kubernetes.io/docs/reference/labels-annotations-taints): the hash of a
 * Deployment stands in the name of its pods, `web-7d4b9c6f5-x2x1z`; a DaemonSet's pods carry `controller-revision-hash`
 * and five random letters; a StatefulSet's their number; a Job's its name.
 */
export function workloadOf({ namespace, name, labels }: Pick<Endpoint, "namespace" | "name" | "labels">): string {
  return `${namespace}/${workloadName(name, labels)}`;
}

function workloadName(name: string, labels: Labels): string {
  const hash = labels.get("pod-template-hash");
  if (hash !== undefined) {
    const at = name.lastIndexOf(`-${hash}-`);
    if (at > 0) return name.slice(0, at);
  }
  const job = labels.get("batch.kubernetes.io/job-name") ?? labels.get("job-name");
  if (job !== undefined && job !== "") return job.replace(/-\d{8}$/, ""); // a CronJob's minute
  if (labels.get("statefulset.kubernetes.io/pod-name") === name) return name.replace(/-\d+$/, "");
  if (labels.has("controller-revision-hash")) return name.replace(/-(?:\d+|[a-z0-9]{5})$/, "");
  // Written by hand or by a generator: a name that ends as a ReplicaSet's pods do.
  return name.replace(/-[a-f0-9]{6,10}-[a-z0-9]{5}$/, "");
}

/** Labels that differ between replicas or releases of one workload, which no policy should select by. */
export const VOLATILE_LABELS: ReadonlySet<string> = new Set([
  "pod-template-hash",
  "controller-revision-hash",
  "pod-template-generation",
  "statefulset.kubernetes.io/pod-name",
  "apps.kubernetes.io/pod-index",
  "batch.kubernetes.io/job-completion-index",
  "batch.kubernetes.io/controller-uid",
  "controller-uid",
]);
