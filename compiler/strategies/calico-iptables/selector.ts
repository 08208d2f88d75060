/**
 * Selectors in Calico's canonical text, which is their identity: sets and groups are named by a hash of it. Labels of a
 * pod's namespace stand beside its own, with the prefix `pcns.`.
 *
 * Source: projectcalico/calico libcalico-go/lib/backend/k8s/conversion (k8sSelectorToCalico), lib/selector/parser/ast.go.
 */
import type { LabelRequirement, LabelSelector, NetworkPolicy } from "../../model.ts";

const ORCHESTRATOR = 'projectcalico.org/orchestrator == "k8s"';
const NAMESPACE = "projectcalico.org/namespace";

/** What a namespace's label is called as a label of its pods. */
export const NAMESPACE_LABELS = "pcns.";

/** Every endpoint. */
export const ALL = "all()";

/** The subjects of a policy. */
export function policySelector({ podSelector, namespace }: NetworkPolicy): string {
  return and([podTerms(podSelector), `${NAMESPACE} == "${namespace}"`]);
}

/** The pods of a peer, of the policy's own namespace when there is no namespace selector. */
export function peerSelector(
  policy: NetworkPolicy,
  podSelector: LabelSelector | undefined,
  namespaceSelector: LabelSelector | undefined,
): string {
  const pods = podTerms(podSelector);
  if (namespaceSelector === undefined) return and([`${NAMESPACE} == "${policy.namespace}"`, pods]);
  const terms = selectorTerms(namespaceSelector, NAMESPACE_LABELS);
  return and([terms.length === 0 ? `has(${NAMESPACE})` : and(terms), pods]);
}

function podTerms(selector: LabelSelector | undefined): string {
  return and([ORCHESTRATOR, ...(selector === undefined ? [] : selectorTerms(selector, ""))]);
}

function selectorTerms({ matchLabels, matchExpressions }: LabelSelector, prefix: string): readonly string[] {
  return [
    ...matchLabels.map(([key, value]) => `${prefix}${key} == "${value}"`),
    ...matchExpressions.map((requirement) => requirementText(requirement, prefix)),
  ];
}

function requirementText({ key, operator, values }: LabelRequirement, prefix: string): string {
  const set = [...new Set(values)].sort().map((value) => `"${value}"`);
  switch (operator) {
    case "In":
      return `${prefix}${key} in {${set.join(", ")}}`;
    case "NotIn":
      return `${prefix}${key} not in {${set.join(", ")}}`;
    case "Exists":
      return `has(${prefix}${key})`;
    case "DoesNotExist":
      return `!has(${prefix}${key})`;
  }
}

function and(terms: readonly string[]): string {
  return terms.length === 1 && terms[0] !== undefined ? terms[0] : `(${terms.join(" && ")})`;
}
