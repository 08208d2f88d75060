/** Reading the fields of one object: every wrong type or value becomes an issue with its place, and reading goes on. */
import { compareText } from "../age.ts";
import type { Issue, Severity, SourceRef } from "../issue.ts";
import type { Labels } from "../model.ts";
import { didYouMean, labelKeyProblem, labelValueProblem } from "./formats.ts";
import type { ParsedObject } from "./objects.ts";
import { describe, formatPath, isRecord, type Path, quote } from "./values.ts";

export type Fields = Readonly<Record<string, unknown>>;

export interface Problem {
  readonly code: string;
  readonly message: string;
  /** Default: error. */
  readonly severity?: Severity;
  /** Point at the key instead of the value. */
  readonly at?: "key";
}

/** ObjectMeta of the API: what annotations may add up to. */
const ANNOTATIONS_MAX_BYTES = 262_144;

/** A problem, at its path. Where that is in the text may change while the object does not. */
export interface Report {
  readonly path: Path;
  readonly problem: Problem;
}

export function issueAt(object: ParsedObject, { path, problem }: Report): Issue {
  const position = problem.at === "key" ? object.positionOfKey(path) : object.positionOf(path);
  return {
    code: problem.code,
    severity: problem.severity ?? "error",
    message: problem.message,
    file: object.file,
    line: position.line,
    column: position.column,
    path: formatPath(path),
  };
}

const OBJECTS = new WeakMap<SourceRef, ParsedObject>();

/** Where a part of an object stands, for parts of which the model has no place; the object's own when it is none of a manifest. */
export function sourceWithin(root: SourceRef, path: Path): SourceRef {
  const object = OBJECTS.get(root);
  return object === undefined ? root : { file: object.file, ...object.positionOf(path) };
}

/** One object being read. Problems are told to who listens. */
export class FieldReader {
  readonly #object: ParsedObject;
  readonly #tell: (report: Report) => void;

  constructor(object: ParsedObject, tell: (report: Report) => void) {
    this.#object = object;
    this.#tell = tell;
  }

  report(path: Path, problem: Problem): void {
    this.#tell({ path, problem });
  }

  warn(path: Path, code: string, message: string): void {
    this.report(path, { code, severity: "warning", message });
  }

  /** The API server's `Invalid value: …: …`. */
  invalid(path: Path, value: unknown, why: string, code = "invalid"): void {
    this.report(path, { code, message: `Invalid value: ${shown(value)}: ${why}` });
  }

  /** The API server's `Unsupported value: …: supported values: …`. */
  unsupported(path: Path, value: unknown, supported: readonly string[]): void {
    const values = supported.map((each) => `"${each}"`).join(", ");
    this.report(path, {
      code: "not-supported",
      message: `Unsupported value: ${shown(value)}: supported values: ${values}`,
    });
  }

  required(path: Path, why = ""): void {
    this.report(path, { code: "required", message: `Required value${why === "" ? "" : `: ${why}`}` });
  }

  forbidden(path: Path, why: string): void {
    this.report(path, { code: "forbidden", message: `Forbidden: ${why}` });
  }

  duplicate(path: Path, value: unknown): void {
    this.report(path, { code: "duplicate", message: `Duplicate value: ${shown(value)}` });
  }

  /** Looked up when it is asked for: of thousands a few are, and a document that moves keeps what was read of it. */
  source(path: Path): SourceRef {
    const object = this.#object;
    return {
      file: object.file,
      get line() {
        return object.positionOf(path).line;
      },
      get column() {
        return object.positionOf(path).column;
      },
    };
  }

  /** That of the whole object, by which `sourceWithin` finds its parts. */
  root(): SourceRef {
    const root = this.source([]);
    OBJECTS.set(root, this.#object);
    return root;
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
    this.#wrongType(path, value, "text");
    return "";
  }

  boolean(value: unknown, path: Path): boolean {
    if (isAbsent(value)) return false;
    if (typeof value === "boolean") return value;
    this.#wrongType(path, value, "true or false");
    return false;
  }

  /** A whole number; undefined when absent or none. */
  integer(value: unknown, path: Path): number | undefined {
    if (isAbsent(value)) return undefined;
    if (typeof value === "number" && Number.isInteger(value)) return value;
    this.#wrongType(path, value, "a whole number");
    return undefined;
  }

  /** Labels: keys and values must have the API's formats. Sorted by key. */
  labels(value: unknown, path: Path): Labels {
    const labels = this.#textMap(value, path);
    for (const [key, text] of labels) {
      const wrongKey = labelKeyProblem(key);
      if (wrongKey !== undefined) this.#invalidKey([...path, key], wrongKey);
      const wrongValue = labelValueProblem(text);
      if (wrongValue !== undefined) this.invalid([...path, key], text, wrongValue, "invalid-label");
    }
    return labels;
  }

  /** Annotations: keys as those of labels, in any case; values are free. Sorted by key. */
  annotations(value: unknown, path: Path): ReadonlyMap<string, string> {
    const annotations = this.#textMap(value, path);
    let size = 0;
    for (const [key, text] of annotations) {
      const wrongKey = labelKeyProblem(key.toLowerCase());
      if (wrongKey !== undefined) this.#invalidKey([...path, key], wrongKey);
      size += key.length + text.length;
    }
    if (size > ANNOTATIONS_MAX_BYTES) {
      this.report(path, { code: "too-long", message: `Too long: may not be more than ${ANNOTATIONS_MAX_BYTES} bytes` });
    }
    return annotations;
  }

  labelKey(key: string, path: Path): void {
    const wrong = labelKeyProblem(key);
    if (wrong !== undefined) this.invalid(path, key, wrong, "invalid-label");
  }

  labelValue(text: string, path: Path): void {
    const wrong = labelValueProblem(text);
    if (wrong !== undefined) this.invalid(path, text, wrong, "invalid-label");
  }

  /** Strict decoding: a field that the API does not know is an error, since it would be lost without a word. */
  onlyKnown(fields: Fields, path: Path, known: readonly string[]): void {
    for (const name of Object.keys(fields)) {
      if (known.includes(name)) continue;
      const meant = didYouMean(name, known);
      const help = meant === undefined ? `known fields: ${known.join(", ")}` : `did you mean ${quote(meant)}?`;
      this.report([...path, name], {
        code: "unknown-field",
        message: `strict decoding error: unknown field ${quote(formatPath([...path, name]))}; ${help}`,
        at: "key",
      });
    }
  }

  #invalidKey(path: Path, wrong: string): void {
    const message = `Invalid value: ${shown(path.at(-1))}: ${wrong}`;
    this.report(path, { code: "invalid-label", message, at: "key" });
  }

  /** A map of text to text, in order of key. */
  #textMap(value: unknown, path: Path): ReadonlyMap<string, string> {
    const fields = this.record(value, path);
    const texts = new Map<string, string>();
    for (const key of Object.keys(fields).sort(compareText)) {
      const text = fields[key];
      texts.set(key, typeof text === "string" ? text : this.text(text, [...path, key]));
    }
    return texts;
  }

  /** In the words of the API server's decoder. */
  #wrongType(path: Path, value: unknown, want: keyof typeof GO_TYPES): void {
    const hint = want === "text" && !isRecord(value) && !Array.isArray(value) ? "; write it in quotes" : "";
    this.report(path, {
      code: "wrong-type",
      message: `json: cannot unmarshal ${jsonType(value)} into Go value of type ${GO_TYPES[want]}: found ${describe(value)}, want ${want}${hint}`,
    });
  }
}

const GO_TYPES = {
  "a map": "map",
  "a list": "slice",
  text: "string",
  "true or false": "bool",
  "a whole number": "int32",
} as const;

function jsonType(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

/** How many items of a list a message repeats. */
const SHOWN_ITEMS = 5;

function shown(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (!Array.isArray(value)) return isRecord(value) ? "{…}" : String(value);
  const items = value.slice(0, SHOWN_ITEMS).map((item: unknown) => (Array.isArray(item) ? "[…]" : shown(item)));
  return `[${[...items, ...(value.length > SHOWN_ITEMS ? ["…"] : [])].join(", ")}]`;
}

export function isAbsent(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}
