/** Problems of user input, as data. Collected, never thrown one by one, reported all at once. */

export type Severity = "error" | "warning";

export interface Issue {
  /** Stable, kebab-case: `duplicate-policy`, `unknown-field`, `required`, … */
  readonly code: string;
  readonly severity: Severity;
  /** What was found and what is allowed. */
  readonly message: string;
  readonly file: string;
  /** From 1; 0 when the input has no positions. */
  readonly line: number;
  readonly column: number;
  /** Where in the object, as the API server writes paths: `spec.ingress[0].from[1].ipBlock.cidr`. */
  readonly path: string;
}

/** Where something stood in the input. */
export interface SourceRef {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export function hasErrors(issues: readonly Issue[]): boolean {
  return issues.some((issue) => issue.severity === "error");
}

/** `file:line:column: error: path: message`, the form editors and CI systems recognise. */
export function formatIssue(issue: Issue): string {
  const path = issue.path === "" ? "" : `${issue.path}: `;
  return `${formatIssuePlace(issue)}: ${issue.severity}: ${path}${issue.message}`;
}

/** `file:line:column`, or the file alone when the input has no positions. */
export function formatIssuePlace({ file, line, column }: SourceRef): string {
  return line > 0 ? `${file}:${line}:${column}` : file;
}
