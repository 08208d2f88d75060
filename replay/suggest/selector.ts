/** Labels that select the pods of a workload and, if there are such, nobody else in its namespace. */
import type { Endpoint } from "../../compiler/model.ts";
import { VOLATILE_LABELS } from "../workload.ts";

export interface WorkloadSelector {
  readonly labels: readonly (readonly [key: string, value: string])[];
  /** Pods of the namespace that it selects as well. */
  readonly strangers: readonly Endpoint[];
}

/** Labels that say what a pod is, the usual ones first (kubernetes.io, "Recommended Labels"). */
const TELLING = ["app.kubernetes.io/name", "app", "k8s-app", "name", "role", "component", "tier"];

/** `pods` are of one namespace, `all` every pod of it. The fewest labels that tell them apart are taken. */
export function workloadSelector(pods: readonly Endpoint[], all: readonly Endpoint[]): WorkloadSelector {
  const [first, ...others] = pods;
  const shared = [...(first?.labels ?? [])]
    .filter(([key, value]) => !VOLATILE_LABELS.has(key) && others.every(({ labels }) => labels.get(key) === value))
    .sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1));
  const own = new Set(pods.map(({ key }) => key));
  const strangers = (labels: WorkloadSelector["labels"]) =>
    all.filter((pod) => !own.has(pod.key) && labels.every(([key, value]) => pod.labels.get(key) === value));
  for (const labels of candidates(shared)) {
    if (strangers(labels).length === 0) return { labels, strangers: [] };
  }
  return { labels: shared, strangers: strangers(shared) };
}

function rank(key: string): number {
  const at = TELLING.indexOf(key);
  return at < 0 ? TELLING.length : at;
}

/** One label, then two, then all. */
function* candidates(labels: WorkloadSelector["labels"]): Generator<WorkloadSelector["labels"]> {
  for (const label of labels) yield [label];
  for (const [index, label] of labels.entries()) {
    for (const other of labels.slice(index + 1)) yield [label, other];
  }
  if (labels.length > 2) yield labels;
}
