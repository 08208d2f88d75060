/**
 * parse: text -> objects with positions. The only module that knows YAML (JSON is YAML).
 *
 * Scalars are read as kubectl reads them (YAML 1.1: an unquoted `yes` or `on` is a boolean), apart from timestamps and
 * base-60 numbers, which reach the API server as strings.
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type ParsedNode,
  parseAllDocuments,
  type Tags,
} from "yaml";
import type { Issue } from "../issue.ts";

export interface ManifestFile {
  /** Shown in issues; `-` for standard input. */
  readonly name: string;
  readonly text: string;
}

export type Path = readonly (string | number)[];

export interface Position {
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

/** One YAML document. */
export interface YamlDocument {
  readonly value: unknown;
  /** Where a value starts, or its nearest ancestor that exists. */
  positionOf(path: Path): Position;
  /** Where the key of the last part of the path starts; as `positionOf` when there is none. */
  positionOfKey(path: Path): Position;
}

export interface YamlFile {
  /** Documents without syntax errors; empty ones are left out. */
  readonly documents: readonly YamlDocument[];
  readonly issues: readonly Issue[];
}

/** One API object, as written. */
export interface ParsedObject {
  readonly file: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly value: Readonly<Record<string, unknown>>;
  positionOf(path: Path): Position;
  positionOfKey(path: Path): Position;
}

export interface ParsedManifests {
  readonly objects: readonly ParsedObject[];
  readonly issues: readonly Issue[];
  /** Objects of kinds that say nothing about network policy, by `apiVersion kind`. */
  readonly skipped: ReadonlyMap<string, number>;
}

/** How many times aliases may be expanded in one document; beyond it the document is refused as an alias bomb. */
const MAX_ALIASES = 1_000;

/** One slip of indentation can make every later line an error; the first ones tell. */
const SHOWN_ERRORS = 10;
const TOO_DEEP = "the document is nested too deeply";

/** Reads every document of a file. Never throws on its text. */
export function parseYamlDocuments(file: ManifestFile): YamlFile {
  const issues: Issue[] = [];
  const report = (message: string, at: Position, code = "syntax") =>
    issues.push({ code, severity: "error", message, file: file.name, ...at, path: "" });

  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const strange = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffd]/.exec(file.text);
  if (strange !== null) {
    const code = strange[0].charCodeAt(0).toString(16).padStart(2, "0");
    report(`not a text file: found the character 0x${code}`, positionIn(file.text, strange.index));
    return { documents: [], issues };
  }
  const lines = new LineCounter();
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  let parsed: readonly Document.Parsed<ParsedNode>[];
  try {
    const result = parseAllDocuments(file.text, {
      lineCounter: lines,
      version: "1.1",
      merge: true,
      prettyErrors: false,
      customTags: kubectlTags,
      uniqueKeys: true,
    });
    parsed = "empty" in result ? [] : result;
  } catch (error) {
    report(`cannot be read: ${reasonOf(error)}`, { line: 1, column: 1 });
    return { documents: [], issues };
  }

  const documents: YamlDocument[] = [];
  for (const document of parsed) {
    const deep = document.errors.find(({ message }) => message.startsWith("Maximum call stack"));
    if (deep !== undefined) report(TOO_DEEP, at(deep.pos[0]));
    else {
      for (const error of document.errors.slice(0, SHOWN_ERRORS)) {
        report(error.message, at(error.pos[0]), error.code.toLowerCase().replaceAll("_", "-"));
      }
    }
    if (document.errors.length > 0) continue;
    if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) continue;
    try {
      documents.push({
        value: document.toJS({ maxAliasCount: MAX_ALIASES }),
        positionOf: (path) => at(offsetOf(document, path, "value")),
        positionOfKey: (path) => at(offsetOf(document, path, "key")),
      });
    } catch (error) {
      report(reasonOf(error), at(document.range[0]), "alias");
    }
  }
  return { documents, issues };
}

/** Reads API objects from all files; `List` objects of any kind are taken apart. Never throws on their text. */
export function parseManifests(files: readonly ManifestFile[]): ParsedManifests {
  const issues: Issue[] = [];
  const objects: ParsedObject[] = [];
  const skipped = new Map<string, number>();
  if (files.length === 0) {
    issues.push(fileIssue("-", "no-manifests", "no manifest found: give files ending in .yaml, .yml or .json"));
  }
  for (const file of files) {
    const { documents, issues: found } = parseYamlDocuments(file);
    issues.push(...found);
    if (documents.length === 0 && found.length === 0) {
      issues.push(fileIssue(file.name, "empty-file", "the file holds no object"));
    }
    for (const document of documents) collect({ file: file.name, value: document.value, path: [], document });
  }
  return { objects, issues, skipped };

  function collect(item: {
    readonly file: string;
    readonly value: unknown;
    readonly path: Path;
    readonly document: YamlDocument;
  }): void {
    const { file, value, path, document } = item;
    const complain = (code: string, message: string, where: Path = path) =>
      issues.push({
        code,
        severity: "error",
        message,
        file,
        ...document.positionOf(where),
        path: formatPath(where),
      });
    if (!isRecord(value)) {
      complain("not-an-object", `found ${describe(value)}, want an API object with apiVersion and kind`);
      return;
    }
    const { apiVersion, kind } = value;
    if (typeof kind !== "string" || kind === "") {
      complain("required", "kind: Required value");
      return;
    }
    if (typeof apiVersion !== "string" || apiVersion === "") {
      complain("required", "apiVersion: Required value");
      return;
    }
    if (kind.endsWith("List") && Array.isArray(value.items)) {
      for (const [index, entry] of value.items.entries()) {
        // Entries of a typed list may leave out what its kind already says.
        const own = isRecord(entry) && kind !== "List" ? { apiVersion, kind: kind.slice(0, -4), ...entry } : entry;
        collect({ file, value: own, path: [...path, "items", index], document });
      }
      return;
    }
    if (!isRelevant(apiVersion, kind)) {
      const name = `${apiVersion} ${kind}`;
      skipped.set(name, (skipped.get(name) ?? 0) + 1);
      return;
    }
    objects.push({
      file,
      apiVersion,
      kind,
      value,
      positionOf: (inner) => document.positionOf([...path, ...inner]),
      positionOfKey: (inner) => document.positionOfKey([...path, ...inner]),
    });
  }
}

function isRelevant(apiVersion: string, kind: string): boolean {
  // NetworkPolicy of any group and version: the wrong ones are worth an error, not silence.
  if (kind === "NetworkPolicy") return /^(?:networking\.k8s\.io|extensions)\//.test(apiVersion);
  return apiVersion === "v1" && (kind === "Node" || kind === "Namespace" || kind === "Pod");
}

function fileIssue(file: string, code: string, message: string): Issue {
  return { code, severity: "error", message, file, line: 0, column: 0, path: "" };
}

/** YAML 1.1 without what go-yaml leaves as strings. */
function kubectlTags(tags: Tags): Tags {
  return tags.filter(
    (tag) =>
      typeof tag === "string" || (tag.format !== "TIME" && !/:(?:timestamp|binary|omap|pairs|set)$/.test(tag.tag)),
  );
}

function offsetOf(document: Document.Parsed<ParsedNode>, path: Path, want: "key" | "value"): number {
  let node: Node | null | undefined = document.contents;
  let offset = node?.range?.[0] ?? document.range[0];
  for (const [depth, part] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    let next: unknown;
    let key: unknown;
    if (isMap(node)) {
      const pair = node.items.find((item) => (isScalar(item.key) ? String(item.key.value) : item.key) === String(part));
      key = pair?.key;
      next = pair?.value;
    } else if (isSeq(node) && typeof part === "number") {
      next = node.items[part];
    }
    const last = depth === path.length - 1;
    const start = startOf(last && want === "key" ? (key ?? next) : (next ?? key));
    if (start === undefined) return offset;
    offset = start;
    node = isMap(next) || isSeq(next) || isAlias(next) ? next : undefined;
  }
  return offset;
}

function startOf(node: unknown): number | undefined {
  return isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range?.[0] : undefined;
}

function positionIn(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  return { line, column: offset - before.lastIndexOf("\n") };
}

/** Why the parser gave up: too many or unresolved aliases, or nesting that exhausts its stack. */
function reasonOf(error: unknown): string {
  if (error instanceof RangeError) return TOO_DEEP;
  return error instanceof Error ? error.message : String(error);
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a value is, for messages: `a list`, `the number 5`, `the text "…"` (shortened). */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map";
  if (typeof value === "string") return `the text ${quote(value)}`;
  return `the ${typeof value} ${String(value)}`;
}

/** Longest value a message repeats. */
const SHOWN_CHARACTERS = 64;

/** The value in double quotes, shortened when long. */
export function quote(text: string): string {
  const shown = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
  return JSON.stringify(shown);
}

/** `spec.ingress[0].from`, as the API server writes paths. */
export function formatPath(path: Path): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (/^[A-Za-z][A-Za-z0-9]*$/.test(part)) text += text === "" ? part : `.${part}`;
    else text += `[${part}]`;
  }
  return text;
}
