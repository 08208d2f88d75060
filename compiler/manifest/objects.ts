/** parse, second half: documents -> API objects of the kinds that say something about network policy. */
import { rememberedBy } from "../again.ts";
import type { Issue } from "../issue.ts";
import { didYouMean } from "./formats.ts";
import { DocumentMemory, type ManifestFile, parseYamlDocuments, type YamlDocument } from "./parse.ts";
import type { Position } from "./plain/lines.ts";
import { describe, formatPath, isRecord, type Path, quote } from "./values.ts";

/** One API object, as written. */
export interface ParsedObject {
  readonly file: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly value: Readonly<Record<string, unknown>>;
  /** Where a value of the object starts, or its nearest ancestor that exists. */
  positionOf(path: Path): Position;
  /** Where the key of the last part of the path starts; as `positionOf` when there is none. */
  positionOfKey(path: Path): Position;
}

export interface ParsedManifests {
  readonly objects: readonly ParsedObject[];
  readonly issues: readonly Issue[];
  /** Objects of other kinds, by `apiVersion kind`. */
  readonly skipped: ReadonlyMap<string, number>;
  /** Of those, the objects that say whom a Service address stands for. No policy reads them; recordings name them. */
  readonly services: readonly ParsedObject[];
}

/** `apiVersion kind` of `ParsedManifests.services`. */
export const SERVICE_KINDS: ReadonlySet<string> = new Set([
  "v1 Service",
  "v1 Endpoints",
  "discovery.k8s.io/v1 EndpointSlice",
]);

const CORE_KINDS = ["Node", "Namespace", "Pod"];
const KINDS = [...CORE_KINDS, "NetworkPolicy"];

/** What was read of files, for when they are read again. */
export class ManifestMemory {
  #files = new Map<string, DocumentMemory>();

  /** Forgets files that are no longer there. */
  of(files: readonly ManifestFile[]): ReadonlyMap<string, DocumentMemory> {
    this.#files = new Map(files.map(({ name }) => [name, this.#files.get(name) ?? new DocumentMemory()]));
    return this.#files;
  }
}

/**
 * Reads API objects from all files; `List` objects of any kind are taken apart. Never throws on their text. With a memory,
 * objects of documents that have not changed are the same as before, and say where they stand now.
 */
export function parseManifests(files: readonly ManifestFile[], memory?: ManifestMemory): ParsedManifests {
  const memories = memory?.of(files);
  const objects: ParsedObject[] = [];
  const issues: Issue[] = [];
  const skipped = new Map<string, number>();
  const services: ParsedObject[] = [];
  const empty: string[] = [];
  for (const file of files) {
    const { documents, issues: found } = parseYamlDocuments(file, memories?.get(file.name));
    issues.push(...found);
    if (documents.length === 0 && found.length === 0) empty.push(file.name);
    for (const document of documents) {
      for (const read of readDocument(document, file.name)) {
        switch (read.kind) {
          case "object":
            objects.push(read.object);
            break;
          case "issue":
            issues.push(read.issue());
            break;
          case "skipped":
            skipped.set(read.name, (skipped.get(read.name) ?? 0) + 1);
            if (SERVICE_KINDS.has(read.name)) services.push(read.object);
            break;
        }
      }
    }
  }
  // kubectl refuses an input without objects, and minds no empty file beside others.
  const severity = empty.length === files.length ? "error" : "warning";
  issues.push(...empty.map((file) => fileIssue(file, severity)));
  if (files.length === 0) issues.push({ ...fileIssue("-", "error"), message: NO_FILES, line: 0, column: 0 });
  return { objects, issues, skipped: new Map([...skipped].sort(([a], [b]) => (a < b ? -1 : 1))), services };
}

const NO_FILES = "no manifests given: files ending in .yaml, .yml and .json are read";

function fileIssue(file: string, severity: Issue["severity"]): Issue {
  const message = "no objects in this file: it is empty, or has only comments";
  return { code: "no-objects", severity, message, file, line: 1, column: 1, path: "" };
}

const READ = new WeakMap<YamlDocument, readonly Read[]>();

/** What stands in a document, which is of one file. */
function readDocument(document: YamlDocument, file: string): readonly Read[] {
  return rememberedBy(READ, document, () =>
    [...itemsOf({ file, value: document.value, path: [], document })].map(readItem),
  );
}

interface Item {
  readonly file: string;
  readonly value: unknown;
  /** From the document's root. */
  readonly path: Path;
  readonly document: YamlDocument;
}

/** The item, or what is in it when it is a list. */
function* itemsOf(item: Item): Iterable<Item> {
  const { value, path } = item;
  const items = isRecord(value) ? itemsIn(value) : undefined;
  if (items === undefined) yield item;
  else {
    for (const [index, entry] of items.entries()) {
      yield* itemsOf({ ...item, value: entry, path: [...path, "items", index] });
    }
  }
}

/** Undefined for an object that is no list, or whose items are none. */
function itemsIn({ apiVersion, kind, items }: Readonly<Record<string, unknown>>): readonly unknown[] | undefined {
  if (typeof kind !== "string" || !kind.endsWith("List") || items === undefined) return undefined;
  if (items === null) return [];
  if (!Array.isArray(items)) return undefined;
  const entryKind = kind.slice(0, -"List".length);
  // Lists of one kind, as client libraries write them, leave out in their entries what they say themselves.
  return items.map((entry: unknown) =>
    isRecord(entry) && entryKind !== "" ? { apiVersion, kind: entryKind, ...entry } : entry,
  );
}

type Read =
  | { readonly kind: "object"; readonly object: ParsedObject }
  | { readonly kind: "issue"; readonly issue: () => Issue }
  | { readonly kind: "skipped"; readonly name: string; readonly object: ParsedObject };

function readItem({ file, value, path, document }: Item): Read {
  const issue = (code: string, message: string, field?: string): Read => {
    const where = field === undefined ? path : [...path, field];
    return {
      kind: "issue",
      issue: () => ({
        code,
        severity: "error",
        message,
        file,
        ...document.positionOf(where),
        path: formatPath([...document.within, ...where]),
      }),
    };
  };
  if (!isRecord(value)) return issue("not-an-object", `found ${describe(value)}, want an API object, a map`);
  const { apiVersion, kind } = value;
  if (typeof kind !== "string" || kind === "") return issue("required", "Object 'Kind' is missing", "kind");
  if (typeof apiVersion !== "string" || apiVersion === "") {
    return issue("required", `Object 'apiVersion' is missing in the ${quote(kind)}`, "apiVersion");
  }
  if (kind === "List") return issue("wrong-type", `found ${describe(value.items)}, want a list of objects`, "items");
  const meant = meantKind(apiVersion, kind);
  if (meant !== undefined) {
    const message = `no matches for kind ${quote(kind)} in version ${quote(apiVersion)}; ${meant}`;
    return issue("wrong-kind", message, KINDS.includes(kind) ? "apiVersion" : "kind");
  }
  const object: ParsedObject = {
    file,
    apiVersion,
    kind,
    value,
    positionOf: (inner) => document.positionOf([...path, ...inner]),
    positionOfKey: (inner) => document.positionOfKey([...path, ...inner]),
  };
  if (KINDS.includes(kind) && !isForeign(apiVersion)) return { kind: "object", object };
  return { kind: "skipped", name: `${apiVersion} ${kind}`, object };
}

/** An API group that some solution brought along: `crd.projectcalico.org/v1` has NetworkPolicies of its own. */
function isForeign(apiVersion: string): boolean {
  const [group = ""] = apiVersion.includes("/") ? apiVersion.split("/") : [];
  return group.includes(".") && !group.endsWith(".k8s.io");
}

/** What the user should have written, when the kind and version are not what the API server knows but close to it. */
function meantKind(apiVersion: string, kind: string): string | undefined {
  if (isForeign(apiVersion)) return undefined;
  const wanted = (known: string) => (known === "NetworkPolicy" ? "networking.k8s.io/v1" : "v1");
  if (KINDS.includes(kind)) return apiVersion === wanted(kind) ? undefined : `write apiVersion: ${wanted(kind)}`;
  const group = apiVersion === "v1" ? CORE_KINDS : apiVersion === "networking.k8s.io/v1" ? ["NetworkPolicy"] : [];
  const meant = didYouMean(kind, group);
  return meant === undefined ? undefined : `did you mean ${quote(meant)}?`;
}
