/**
 * parse: text -> objects with positions. The only module that knows the `yaml` package; what most manifests are written
 * in, plain/ reads some thirty times faster.
 *
 * Scalars are read as kubectl reads them, see plain/scalars.ts.
 */
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isScalar,
  isSeq,
  type Node,
  type ParsedNode,
  parseAllDocuments,
  type ScalarTag,
  stringify,
  type Tags,
  visit,
} from "yaml";
import type { Issue } from "../issue.ts";
import { chunksOf } from "./plain/chunks.ts";
import { readJson } from "./plain/json.ts";
import { Lines, type Position } from "./plain/lines.ts";
import { cutList } from "./plain/list.ts";
import { NOT_PLAIN } from "./plain/notPlain.ts";
import { type PlacedValue, type Places, startAt } from "./plain/places.ts";
import { resolveScalar } from "./plain/scalars.ts";
import { readPlainYaml } from "./plain/yaml.ts";
import { isRecord, type Path, quote } from "./values.ts";

export interface ManifestFile {
  /** Shown in issues; `-` for standard input. */
  readonly name: string;
  readonly text: string;
}

/** One YAML document, or one JSON value. */
export interface YamlDocument {
  readonly value: unknown;
  /** Where it stands in what it was cut from: an item of a list is a document of its own where a memory reads it. */
  readonly within: Path;
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

/** A value as block YAML that this module and kubectl read back as the same value. */
export function formatYaml(value: unknown): string {
  return stringify(value, { version: "1.1", lineWidth: 0, aliasDuplicateObjects: false });
}

/** Reads every document of a file. Never throws on its text. `memory`: of the same file, as it was before. */
export function parseYamlDocuments(file: ManifestFile, memory?: DocumentMemory): YamlFile {
  const read: ReadChunk = (chunk) => {
    const plain = readChunkPlainly(chunk);
    return plain === NOT_PLAIN ? readChunkWithLibrary(chunk) : plain;
  };
  return readDocuments(file, memory === undefined ? read : memory.reader(read));
}

/** The same by the `yaml` package alone, without plain/: what plain/ is judged by. */
export function parseYamlDocumentsSlowly(file: ManifestFile): YamlFile {
  return readDocuments(file, readChunkWithLibrary);
}

type ReadChunk = (chunk: PlacedChunk) => readonly (YamlDocument | Trouble)[];

/** A chunk, and where it stands: its documents ask for that whenever they are asked for a position. */
interface PlacedChunk {
  readonly text: string;
  /** Characters of the `---` line. */
  readonly contentStart: number;
  readonly place: ChunkPlace;
}

interface ChunkPlace {
  lines: Lines;
  start: number;
  within: Path;
}

function readDocuments({ name, text }: ManifestFile, readChunk: ReadChunk): YamlFile {
  const lines = new Lines(text);
  const documents: YamlDocument[] = [];
  const issues: Issue[] = [];
  const complain = ({ code, message, offset }: Trouble, start: number) =>
    issues.push({ code, severity: "error", message, file: name, ...lines.positionAt(start + offset), path: "" });
  const strange = strangeCharacter(text);
  if (strange !== undefined) complain(strange, 0);
  for (const { start, contentStart, end } of strange === undefined ? chunksOf(text) : []) {
    const place = { lines, start, within: [] };
    for (const item of readChunk({ text: text.slice(start, end), contentStart: contentStart - start, place })) {
      if ("value" in item) documents.push(item);
      else complain(item, start);
    }
  }
  return { documents, issues };
}

/**
 * What was read of a file, for when it is read again: documents whose text is the same are the same objects, wherever they
 * stand now, and so are the items of a list. A person who types changes one of them, and of a thousand the others are not
 * read.
 */
export class DocumentMemory {
  readonly #chunks = new ChunkMemory();
  readonly #items = new ChunkMemory();

  /** Reads one text, from its beginning to its end. */
  reader(readChunk: ReadChunk): ReadChunk {
    this.#chunks.turn();
    this.#items.turn();
    const readItem: ReadChunk = (item) => {
      const read = readChunkPlainly(item);
      return read === NOT_PLAIN ? [] : read.map((document) => ("value" in document ? onlyItem(document) : document));
    };
    return (chunk) =>
      this.#chunks.known(chunk) ??
      readItems(chunk, (item) => this.#items.known(item) ?? this.#items.read(item, readItem)) ??
      this.#chunks.read(chunk, readChunk);
  }
}

/** By text: chunks of the text that was read last. Equal chunks are as many objects. */
class ChunkMemory {
  #before = new Map<string, RememberedChunk[]>();
  #chunks = new Map<string, RememberedChunk[]>();

  turn(): void {
    this.#before = this.#chunks;
    this.#chunks = new Map();
  }

  known({ text, place }: PlacedChunk): RememberedChunk["items"] | undefined {
    const known = this.#before.get(text)?.pop();
    if (known === undefined) return undefined;
    Object.assign(known.place, place);
    this.#keep(text, known);
    return known.items;
  }

  read(chunk: PlacedChunk, readChunk: ReadChunk): RememberedChunk["items"] {
    // A part of a string keeps all of it: each version of the file would stay as long as one document it brought.
    const text = ` ${chunk.text}`.slice(1);
    const items = readChunk({ ...chunk, text });
    this.#keep(text, { place: chunk.place, items });
    return items;
  }

  #keep(text: string, chunk: RememberedChunk): void {
    const equal = this.#chunks.get(text);
    if (equal === undefined) this.#chunks.set(text, [chunk]);
    else equal.push(chunk);
  }
}

interface RememberedChunk {
  readonly place: ChunkPlace;
  readonly items: readonly (YamlDocument | Trouble)[];
}

const ITEMS = "items:\n";

/** The items of a list, each a document; undefined where it is no list, or one that the plain reader does not read. */
function readItems({ text, contentStart, place }: PlacedChunk, readItem: ReadChunk): YamlDocument[] | undefined {
  const cut = cutList(text);
  const [around] = cut === undefined ? [] : plainValues(cut.rest.slice(contentStart));
  if (cut === undefined || !isRecord(around) || around.kind !== "List" || around.items !== null) return undefined;
  const items: YamlDocument[] = [];
  for (const [index, end] of cut.bounds.slice(1).entries()) {
    const start = cut.bounds[index] as number;
    const [item] = readItem({
      text: ITEMS + text.slice(start, end),
      contentStart: 0,
      place: { lines: place.lines, start: place.start + start - ITEMS.length, within: ["items", index] },
    });
    if (item === undefined || !("value" in item)) return undefined;
    items.push(item);
  }
  return items;
}

function plainValues(text: string): readonly unknown[] {
  const values = readPlainYaml(text);
  return values === NOT_PLAIN || "tooDeepAt" in values ? [] : values.map(({ value }) => value);
}

/** The one item of a list that is a document. */
function onlyItem(list: YamlDocument): YamlDocument {
  const { items } = list.value as { readonly items: readonly unknown[] };
  return {
    value: items[0],
    get within() {
      return list.within;
    },
    positionOf: (path) => list.positionOf(["items", 0, ...path]),
    positionOfKey: (path) => list.positionOfKey(["items", 0, ...path]),
  };
}

interface Trouble {
  readonly code: string;
  readonly message: string;
  /** From the start of the chunk. */
  readonly offset: number;
}

/** What no manifest has: control characters (go-yaml refuses them too), and bytes that were no UTF-8. */
function strangeCharacter(text: string): Trouble | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const offset = text.search(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]/);
  if (offset < 0) return undefined;
  const code = text.charCodeAt(offset);
  const found =
    code === 0xfffd
      ? "bytes that are not UTF-8"
      : `the control character 0x${code.toString(16).padStart(2, "0")}, which manifests may not contain`;
  return { code: "not-text", message: `not a manifest: found ${found}`, offset };
}

function readChunkPlainly(chunk: PlacedChunk): readonly (YamlDocument | Trouble)[] | typeof NOT_PLAIN {
  const { contentStart, place } = chunk;
  const text = chunk.text.slice(contentStart);
  const read = /^\s*[{[]/.test(text) ? readJson : readPlainYaml;
  const values = read(text);
  if (values === NOT_PLAIN) return NOT_PLAIN;
  if ("tooDeepAt" in values) return [{ ...TOO_DEEP, offset: contentStart + values.tooDeepAt }];
  let again: { readonly values: readonly PlacedValue[]; readonly places: Places } | undefined;
  const readAgain = () => {
    const places: Places = new Map();
    const reread = read(text, places);
    if (reread === NOT_PLAIN || "tooDeepAt" in reread)
      throw new Error("a document was plain, and is not when it is read again");
    again = { values: reread, places };
    return again;
  };
  return values.map(({ value, start }, index) => {
    const positionOf = (path: Path, want: "key" | "value"): Position => {
      const from = place.start + contentStart;
      if (path.length === 0) return place.lines.positionAt(from + start);
      const kept = again ?? readAgain();
      return place.lines.positionAt(from + startAt(kept.values[index]?.value, kept.places, { path, want }));
    };
    return {
      value,
      get within() {
        return place.within;
      },
      positionOf: (path) => positionOf(path, "value"),
      positionOfKey: (path) => positionOf(path, "key"),
    };
  });
}

/**
 * How many aliases a document may have, and how many values may come of one anchor; beyond it the document is refused as
 * an alias bomb. The package looks for the anchor of each alias among all nodes, so that time is bounded by this, too.
 */
const MAX_ALIASES = 1_000;

/** Lines and signs in one document that the package is given: it takes some 500 bytes of memory for each. */
const MAX_SIGNS = 2_000_000;
const TOO_LARGE = {
  code: "too-large",
  message: "the document has an error, or YAML that only the slow reader reads, and is too large for it",
};

function readChunkWithLibrary({ text, place }: PlacedChunk): readonly (YamlDocument | Trouble)[] {
  if (hasMoreSigns(text, MAX_SIGNS)) return [{ ...TOO_LARGE, offset: 0 }];
  const parsed = parseAllDocuments(text, {
    version: "1.1",
    merge: true,
    prettyErrors: false,
    customTags: kubectlTags,
    uniqueKeys: true,
  });
  const documents = "empty" in parsed ? [] : parsed;
  return documents.flatMap((document): readonly (YamlDocument | Trouble)[] => {
    const read = syntaxTrouble(document, text) ?? valueTrouble(document) ?? readValue(document);
    if ("message" in read) return [read];
    if (read.value === null) return [];
    const positionOf = (path: Path, want: "key" | "value") =>
      place.lines.positionAt(place.start + offsetOf(document, path, want));
    return [
      {
        value: read.value,
        within: place.within,
        positionOf: (path) => positionOf(path, "value"),
        positionOfKey: (path) => positionOf(path, "key"),
      },
    ];
  });
}

/** Whether there are more than `max` of the characters that make tokens of a text. */
function hasMoreSigns(text: string, max: number): boolean {
  if (text.length <= max) return false;
  const signs = /[\n,:[\]{}"'-]/g;
  let count = 0;
  while (signs.test(text)) if (++count > max) return true;
  return false;
}

/** YAML 1.1 with the scalars of go-yaml, and without the types that JSON does not have. */
function kubectlTags(tags: Tags): Tags {
  const kept = tags.filter((tag) => typeof tag === "string" || /:(?:map|seq|str|merge)$/.test(tag.tag));
  return [...kept, GO_SCALAR];
}

const GO_SCALAR: ScalarTag = { default: true, tag: "tag:yaml.org,2002:float", test: /^/, resolve: resolveScalar };

type LibraryDocument = Document.Parsed<ParsedNode>;

/** The first error of a document: of one slip of indentation, the others are mostly consequences. */
function syntaxTrouble({ errors: [error] }: LibraryDocument, text: string): Trouble | undefined {
  if (error === undefined) return undefined;
  const [offset] = error.pos;
  if (error.message.startsWith("Maximum call stack")) return { ...TOO_DEEP, offset };
  const code = error.code.toLowerCase().replaceAll("_", "-");
  const isTwice = error.code === "DUPLICATE_KEY";
  const [key = ""] = /^(?:"[^"\n]*"|'[^'\n]*'|[^:\n]*)/.exec(text.slice(offset)) ?? [];
  return { code, message: isTwice ? `key ${key} already set in map` : error.message, offset };
}

const TOO_DEEP = { code: "too-deep", message: "the document is nested too deeply for an API object" };

/** What no value can come of: aliases without an anchor, in their own anchor, or too many; maps and lists as keys. */
function valueTrouble(document: LibraryDocument): Trouble | undefined {
  const anchors = new Map<string, Node>();
  let aliasCount = 0;
  let trouble: Trouble | undefined;
  const stopAt = (node: Node, code: string, message: string) => {
    trouble = { code, message, offset: (node.range ?? document.range)[0] };
    return visit.BREAK;
  };
  visit(document, {
    Pair: (_key, { key }) => {
      const named = isAlias(key) ? anchors.get(key.source) : key;
      return isCollection(named) ? stopAt(named, "invalid-key", "invalid map key: a map or a list") : undefined;
    },
    Node: (_key, node) => {
      if (!isAlias(node)) {
        if (node.anchor !== undefined) anchors.set(node.anchor, node);
        return undefined;
      }
      if (++aliasCount > MAX_ALIASES) return stopAt(node, "alias", EXCESSIVE);
      const anchor = anchors.get(node.source);
      if (anchor === undefined) return stopAt(node, "alias", `unknown anchor ${quote(node.source)} referenced`);
      const isInside = (node.range?.[0] ?? 0) < (anchor.range?.[1] ?? 0);
      return isInside ? stopAt(node, "alias", `anchor ${quote(node.source)} value contains itself`) : undefined;
    },
  });
  return trouble;
}

const EXCESSIVE = "document contains excessive aliasing";

function readValue(document: LibraryDocument): { readonly value: unknown } | Trouble {
  try {
    const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
    return { value };
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    return { code: "alias", message: EXCESSIVE, offset: document.range[0] };
  }
}

function offsetOf(document: LibraryDocument, path: Path, want: "key" | "value"): number {
  let node: Node | null | undefined = document.contents;
  let offset = node?.range?.[0] ?? document.range[0];
  for (const [depth, part] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    let next: unknown;
    let key: unknown;
    let found: number | undefined;
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(part));
      key = pair?.key;
      next = pair?.value;
      const wantsKey = want === "key" && depth === path.length - 1;
      found = wantsKey || isUnwritten(next) ? startOf(key) : startOf(next);
    } else if (isSeq(node) && typeof part === "number") {
      next = node.items[part];
      found = startOf(next);
    }
    if (found === undefined) return offset;
    offset = found;
    node = isMap(next) || isSeq(next) || isAlias(next) ? next : undefined;
  }
  return offset;
}

/** `key:` with nothing behind it; the package gives such a value a place of its own. */
function isUnwritten(node: unknown): boolean {
  return !isNode(node) || (isScalar(node) && node.source === "" && node.range?.[0] === node.range?.[1]);
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}
