/** The issues of one imported file. */
import type { Issue, Severity } from "../issue.ts";

/**
 * A hostile file can be wrong in every line; more issues than this of one severity help nobody and would cost memory
 * without bound. The rest is counted.
 */
const MAX_PER_SEVERITY = 1000;

export interface Finding {
  readonly code: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
  /** Where in the save: `filter FORWARD 3`, a set's name, or nothing. */
  readonly path?: string;
}

/** Collects issues in the order they are found, at most `MAX_PER_SEVERITY` of each severity. */
export class ImportIssues {
  readonly #file: string;
  readonly #issues: Issue[] = [];
  readonly #counts: Record<Severity, number> = { error: 0, warning: 0 };
  #last: Finding = { code: "", line: 1, column: 1, message: "" };

  constructor(file: string) {
    this.#file = file;
  }

  error(finding: Finding): void {
    this.#add("error", finding);
  }

  warning(finding: Finding): void {
    this.#add("warning", finding);
  }

  /** All of them, closed by one line that counts what was left out. */
  list(): readonly Issue[] {
    const left = (["error", "warning"] as const).filter((severity) => this.#counts[severity] > MAX_PER_SEVERITY);
    return [
      ...this.#issues,
      ...left.map((severity) =>
        this.#issue(severity, {
          code: "more-issues",
          line: this.#last.line,
          column: this.#last.column,
          message: `${this.#counts[severity] - MAX_PER_SEVERITY} more ${severity}s were left out up to this line`,
        }),
      ),
    ];
  }

  #add(severity: Severity, finding: Finding): void {
    this.#counts[severity]++;
    this.#last = finding;
    if (this.#counts[severity] <= MAX_PER_SEVERITY) this.#issues.push(this.#issue(severity, finding));
  }

  #issue(severity: Severity, { code, message, line, column, path }: Finding): Issue {
    return { code, severity, message, file: this.#file, line, column, path: path ?? "" };
  }
}

/** A word of untrusted text, short enough for a message. */
export function shorten(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}
