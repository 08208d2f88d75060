/** The findings of `lint`: issues of manifests that are valid. */
import type { Issue, SourceRef } from "../../compiler/issue.ts";

/** What can be found, by its code; `help` says what to do about it. */
export const LINT_RULES = {
  "selects-nobody": {
    summary: "A selector selects no pod of the cluster as it is.",
    help: "Compare the selector with the labels that pods and namespaces have. A policy or peer for pods to come is fine.",
  },
  "rule-never-matches": {
    summary: "No packet can match a rule.",
    help: "All of its peers select nobody, none of its port names is declared where it is looked up, or policyTypes lacks its direction.",
  },
  "peer-shadowed": {
    summary: "Other peers of the same rule already contain a peer.",
    help: "Remove the peer, or narrow the one that contains it.",
  },
  "rule-shadowed": {
    summary: "Other rules of the same policy already allow all that a rule allows.",
    help: "Remove the rule.",
  },
  "policy-changes-nothing": {
    summary: "Without the policy every packet would fare the same.",
    help: "Other policies isolate the same pods and allow all that this one allows. Remove it, or check its selector.",
  },
  "except-reopened": {
    summary: "Addresses excepted from a block are allowed again by another peer.",
    help: "Policies only add: an exception carves its own entry. Except the addresses there too, if they are to stay out.",
  },
  "port-not-exposed": {
    summary: "No container of the pods a rule leads to declares the port.",
    help: "Policies see the pod's port after Service translation (targetPort, not port). Declared ports are informative, so this may be fine.",
  },
  "dead-rule": {
    summary: "No packet can match a rule of a node's chains.",
    help: "The rule's conditions exclude each other, or what enters its chain, or rules above it take every such packet. It costs time and does nothing; whoever wrote it meant something.",
  },
  "map-nearly-full": {
    summary: "A map or set of a solution is nearly as full as it can be.",
    help: "Beyond the limit the solution drops entries or fails to update. Use fewer distinct peers, blocks or port ranges.",
  },
} as const satisfies Readonly<Record<string, { readonly summary: string; readonly help: string }>>;

export type LintCode = keyof typeof LINT_RULES;

/** Always a warning: the manifests are valid. */
export interface LintFinding extends Issue {
  readonly code: LintCode;
  readonly severity: "warning";
}

export function finding(
  code: LintCode,
  { file, line, column }: SourceRef,
  { path, message }: { readonly path: string; readonly message: string },
): LintFinding {
  return { code, severity: "warning", message, file, line, column, path };
}
