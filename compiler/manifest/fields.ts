/** Reading the fields of one object: every wrong type or value becomes an issue with its place, and reading goes on. */
import type { Issue, Severity, SourceRef } from "../issue.ts";
import type { Labels } from "../model.ts";
import { didYouMean, labelKeyProblem, labelValueProblem, NO_HOST_NAMES } from "./formats.ts";
import type { ParsedObject } from "./objects.ts";
import { describe, formatPath, isRecord, type Path, quote } from "./values.ts";

export type Fields = Readonly<Record<string, unknown>>;

/** How other policy languages call the fields in which a peer is a name: `fqdns`, `hostnames`, `dnsName`, `domains`. */
const HOST_NAME_FIELD = /host|fqdn|dns|domain/i;

export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly severity?: Severity;
  /** Point at the key instead of the value. */
  readonly at?: "key";
}

/** One object being read. Problems are appended to the list it was given. */
export class FieldReader {
  readonly #object: ParsedObject;
  readonly #issues: Issue[];

  constructor(object: ParsedObject, issues: Issue[]) {
    this.#object = object;
    this.#issues = issues;
  }

  report(path: Path, problem: Problem): void {
    const position = problem.at === "key" ? this.#object.positionOfKey(path) : this.#object.positionOf(path);
    this.#issues.push({
      code: problem.code,
      severity: problem.severity ?? "error",
      message: problem.message,
      file: this.#object.file,
      line: position.line,
      column: position.column,
      path: formatPath(path),
    });
  }

  /** The API server's `Invalid value: …: …`. */
  invalid(path: Path, value: unknown, why: string, code = "invalid"): void {
    const shown = typeof value === "string" ? quote(value) : isRecord(value) ? "map" : String(value);
    this.report(path, { code, message: `Invalid value: ${shown}: ${why}` });
  }

  required(path: Path, why = ""): void {
    this.report(path, { code: "required", message: `Required value${why === "" ? "" : `: ${why}`}` });
  }

  source(path: Path): SourceRef {
    return { file: this.#object.file, ...this.#object.positionOf(path) };
  }

  /** A map; absent is empty. */
  record(value: unknown, path: Path): Fields {
    if (isAbsent(value)) return {};
    if (isRecord(value)) return value;
    this.#wrongType(path, value, "a map");
    return {};
  }

  /** A list; absent is empty. */
  list(value: unknown, path: Path): readonly unknown[] {
    if (isAbsent(value)) return [];
    if (Array.isArray(value)) return value;
    this.#wrongType(path, value, "a list");
    return [];
  }

  /** Text; absent is "". Numbers and booleans are refused, as the API server refuses them. */
  text(value: unknown, path: Path): string {
    if (isAbsent(value)) return "";
    if (typeof value === "string") return value;
    const hint = isRecord(value) || Array.isArray(value) ? "" : ` (write it in quotes: "${String(value)}")`;
    this.#wrongType(path, value, `text${hint}`);
    return "";
  }

  boolean(value: unknown, path: Path): boolean {
    if (isAbsent(value)) return false;
    if (typeof value === "boolean") return value;
    this.#wrongType(path, value, "true or false");
    return false;
  }

  /** A map of text to text, with every value checked only for its type. */
  textMap(value: unknown, path: Path): ReadonlyMap<string, string> {
    const entries = Object.entries(this.record(value, path)).map(
      ([key, entry]) => [key, this.text(entry, [...path, key])] as const,
    );
    return new Map(entries);
  }

  /** Labels: keys and values must have the API's formats. Sorted by key. */
  labels(value: unknown, path: Path): Labels {
    const labels = [...this.textMap(value, path)].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    for (const [key, text] of labels) this.label([...path, key], key, text);
    return new Map(labels);
  }

  label(path: Path, key: string, value: string): void {
    const wrongKey = labelKeyProblem(key);
    if (wrongKey !== undefined) this.invalid(path, key, wrongKey, "invalid-label");
    const wrongValue = labelValueProblem(value);
    if (wrongValue !== undefined) this.invalid(path, value, wrongValue, "invalid-label");
  }

  /** Strict decoding: a field that the API does not know is an error, since it would be lost without a word. */
  onlyKnown(fields: Fields, path: Path, known: readonly string[]): void {
    for (const name of Object.keys(fields)) {
      if (known.includes(name)) continue;
      const meant = didYouMean(name, known);
      const fields = `known fields: ${known.join(", ")}`;
      const unmeant = HOST_NAME_FIELD.test(name) && path[0] === "spec" ? `${fields}; ${NO_HOST_NAMES}` : fields;
      const help = meant === undefined ? unmeant : `did you mean ${quote(meant)}?`;
      this.report([...path, name], {
        code: "unknown-field",
        message: `strict decoding error: unknown field ${quote(formatPath([...path, name]))}; ${help}`,
        at: "key",
      });
    }
  }

  #wrongType(path: Path, value: unknown, want: string): void {
    this.report(path, { code: "wrong-type", message: `found ${describe(value)}, want ${want}` });
  }
}

export function isAbsent(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}
