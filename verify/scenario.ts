/** Scenarios as data: `scenario.yaml` read and checked, every problem with its place. */
import type { Issue } from "../compiler/issue.ts";
import { type ManifestFile, parseYamlDocuments, type YamlDocument } from "../compiler/manifest/parse.ts";
import type { Position } from "../compiler/manifest/plain/lines.ts";
import { describe, formatPath, isRecord, type Path } from "../compiler/manifest/values.ts";
import type { CtState, Verdict } from "../dataplane/verdict.ts";
import {
  isProblem,
  type PacketText,
  packetFromObject,
  parsePacketText,
  type TextProblem,
} from "../traffic/transcript.ts";
import {
  type ChangeStepText,
  changeStepSchema,
  type PacketStepText,
  packetStepSchema,
  scenarioSchema,
} from "./scenarioSchema.ts";

/** For whom something exists. */
export interface Scope {
  /** Strategies (or the reference) for which alone it exists, with the reason; undefined: all. */
  readonly only: ReadonlyMap<string, string> | undefined;
  /** Strategies (or the reference) for which it does not exist, with the reason. */
  readonly except: ReadonlyMap<string, string>;
}

export interface Scenario extends Scope {
  /** The file, as it is shown in issues. */
  readonly file: string;
  readonly description: string;
  readonly steps: readonly ScenarioStep[];
}

export type ScenarioStep = PacketStep | ChangeStep;

interface StepPlace extends Scope {
  /** From 1. */
  readonly number: number;
  readonly line: number;
  readonly column: number;
  /** Seconds. */
  readonly time: number;
}

export interface PacketStep extends StepPlace {
  readonly kind: "packet";
  readonly packet: PacketText;
  readonly expect: Extract<Verdict, "accept" | "drop" | "reject">;
  readonly state: CtState | undefined;
  readonly because: string | undefined;
}

export interface ChangeStep extends StepPlace {
  readonly kind: "change";
  readonly changes: readonly ClusterChange[];
}

/** One object that comes, goes or moves. */
export type ClusterChange =
  | {
      readonly kind: "apply";
      readonly value: Readonly<Record<string, unknown>>;
      positionOf(path: Path): Position;
      positionOfKey(path: Path): Position;
    }
  | { readonly kind: "delete"; readonly object: ObjectName }
  | { readonly kind: "setAddress"; readonly object: ObjectName; readonly addresses: readonly string[] };

export interface ObjectName {
  readonly kind: string;
  /** "" for what has no namespace. */
  readonly namespace: string;
  readonly name: string;
}

export interface ParsedScenario {
  /** Undefined when an issue is an error. */
  readonly scenario: Scenario | undefined;
  readonly issues: readonly Issue[];
}

/** Why a scenario or a step does not exist for the strategy (or the reference); undefined: it exists. */
export function absence({ only, except }: Scope, strategy: string): string | undefined {
  const reason = except.get(strategy);
  if (reason !== undefined || only === undefined || only.has(strategy)) return reason;
  return `only for ${[...only].map(([name, why]) => `${name} (${why})`).join(", ")}`;
}

/**
 * Reads a scenario file. Never throws on its text. `strategies` are the names that `only` and `except` may use: a typo
 * there would silently take a step away.
 */
export function parseScenario(file: ManifestFile, strategies: readonly string[]): ParsedScenario {
  const { documents, issues } = parseYamlDocuments(file);
  if (issues.length > 0) return { scenario: undefined, issues };
  const [document, ...more] = documents;
  const complaints = new Complaints(file.name, document);
  if (document === undefined) complaints.add([], "the file holds no scenario");
  else if (more.length > 0) complaints.add([], `a scenario is one document, found ${documents.length}`);
  else {
    const scenario = readScenario(document, complaints, strategies);
    if (complaints.issues.length === 0 && scenario !== undefined) return { scenario, issues: [] };
  }
  return { scenario: undefined, issues: complaints.issues };
}

class Complaints {
  readonly issues: Issue[] = [];
  readonly file: string;
  readonly #document: YamlDocument | undefined;

  constructor(file: string, document: YamlDocument | undefined) {
    this.file = file;
    this.#document = document;
  }

  /** At the value; `key` is a key there that should not be. */
  add(path: Path, message: string, key?: string): void {
    const at = key === undefined ? this.#document?.positionOf(path) : this.#document?.positionOfKey([...path, key]);
    this.issues.push({
      code: "scenario",
      severity: "error",
      message,
      file: this.file,
      line: at?.line ?? 1,
      column: at?.column ?? 1,
      path: formatPath(path),
    });
  }
}

/** What a zod schema does, as far as this file needs it. */
interface Schema<T> {
  safeParse(
    value: unknown,
  ):
    | { readonly success: true; readonly data: T }
    | { readonly success: false; readonly error: { readonly issues: readonly SchemaIssue[] } };
}

interface SchemaIssue {
  readonly code?: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly keys?: readonly string[];
}

function check<T>(schema: Schema<T>, value: unknown, at: Path, complaints: Complaints): T | undefined {
  const checked = schema.safeParse(value);
  if (checked.success) return checked.data;
  for (const { path, message, keys } of checked.error.issues) {
    const where = [...at, ...path.map((part) => (typeof part === "number" ? part : String(part)))];
    complaints.add(where, message, keys?.[0]);
  }
  return undefined;
}

function readScenario(
  document: YamlDocument,
  complaints: Complaints,
  strategies: readonly string[],
): Scenario | undefined {
  const { value } = document;
  // Steps are checked one by one below, each against the form its author meant.
  const outline = check(
    scenarioSchema,
    isRecord(value) && Array.isArray(value.steps) && value.steps.length > 0
      ? { ...value, steps: [OUTLINE_STEP] }
      : value,
    [],
    complaints,
  );
  if (outline === undefined || !isRecord(value) || !Array.isArray(value.steps)) return undefined;
  const steps: ScenarioStep[] = [];
  let time = 0;
  for (const [index, given] of value.steps.entries()) {
    const step = readStep({ document, complaints, strategies, index, given, earliest: time });
    if (step === undefined) continue;
    steps.push(step);
    time = step.time;
  }
  const scope = scopeOf({ complaints, strategies, at: [] }, outline);
  return { file: complaints.file, description: outline.description, ...scope, steps };
}

/** Stands for steps that are checked elsewhere. */
const OUTLINE_STEP = { packet: "tcp a > b:1", expect: "accept" };

interface StepInput {
  readonly document: YamlDocument;
  readonly complaints: Complaints;
  readonly strategies: readonly string[];
  readonly index: number;
  readonly given: unknown;
  readonly earliest: number;
}

function readStep(input: StepInput): ScenarioStep | undefined {
  const { complaints, index, given } = input;
  const at: Path = ["steps", index];
  if (!isRecord(given)) {
    complaints.add(at, `a step is a packet or a change of the cluster, found ${describe(given)}`);
    return undefined;
  }
  const change = changeStepSchema(given);
  if (change !== undefined) {
    const step = check<ChangeStepText>(change, given, at, complaints);
    return step === undefined ? undefined : changeStep(input, at, step);
  }
  const step = check<PacketStepText>(packetStepSchema, given, at, complaints);
  return step === undefined ? undefined : packetStep(input, at, step);
}

function placeOf(
  { document, complaints, strategies, index, earliest }: StepInput,
  at: Path,
  step: PacketStepText | ChangeStepText,
): StepPlace {
  const time = step.time ?? earliest;
  if (time < earliest) complaints.add([...at, "time"], `time never decreases: found ${time} after ${earliest}`);
  return {
    number: index + 1,
    ...document.positionOf(at),
    time,
    ...scopeOf({ complaints, strategies, at }, step),
  };
}

interface ScopeInput {
  readonly complaints: Complaints;
  readonly strategies: readonly string[];
  readonly at: Path;
}

interface ScopeText {
  readonly only?: Readonly<Record<string, string>> | undefined;
  readonly except?: Readonly<Record<string, string>> | undefined;
}

function scopeOf({ complaints, strategies, at }: ScopeInput, text: ScopeText): Scope {
  for (const key of ["only", "except"] as const) {
    for (const name of Object.keys(text[key] ?? {})) {
      if (strategies.includes(name)) continue;
      complaints.add([...at, key], `unknown strategy ${name}; there are ${strategies.join(", ")}`, name);
    }
  }
  return {
    only: text.only === undefined ? undefined : new Map(Object.entries(text.only)),
    except: new Map(Object.entries(text.except ?? {})),
  };
}

function packetStep(input: StepInput, at: Path, step: PacketStepText): PacketStep | undefined {
  const place = placeOf(input, at, step);
  const packet = packetText(step);
  if (isProblem(packet)) {
    input.complaints.add(at, packet.problem);
    return undefined;
  }
  return {
    kind: "packet",
    ...place,
    packet: { ...packet, details: { ...packet.details, time: place.time } },
    expect: step.expect,
    state: step.state,
    because: step.because,
  };
}

/** Fields that the one-line form already says. */
const TUPLE_FIELDS = ["protocol", "source", "sourcePort", "destination", "destinationPort"] as const;

function packetText(step: PacketStepText): PacketText | TextProblem {
  const {
    packet: line,
    expect: _expect,
    state: _state,
    because: _because,
    only: _only,
    except: _except,
    ...fields
  } = step;
  if (line === undefined) return packetFromObject(fields);
  const twice = TUPLE_FIELDS.find((name) => fields[name] !== undefined);
  if (twice !== undefined) return { problem: `${twice} is given beside packet, which already says it` };
  const short = parsePacketText(line);
  if (isProblem(short)) return short;
  const { protocol, source, sourcePort, destination, destinationPort } = short;
  const rest = packetFromObject({ ...fields, protocol, source, sourcePort, destination, destinationPort });
  if (isProblem(rest)) return rest;
  return { ...rest, details: { ...short.details, ...rest.details } };
}

function changeStep(input: StepInput, at: Path, step: ChangeStepText): ChangeStep {
  return { kind: "change", ...placeOf(input, at, step), changes: changesOf(input.document, at, step) };
}

function changesOf(document: YamlDocument, at: Path, step: ChangeStepText): readonly ClusterChange[] {
  if ("apply" in step) {
    const isList = Array.isArray(step.apply);
    return [step.apply].flat().map((value, index) => {
      const where: Path = isList ? [...at, "apply", index] : [...at, "apply"];
      return {
        kind: "apply",
        value,
        positionOf: (path) => document.positionOf([...where, ...path]),
        positionOfKey: (path) => document.positionOfKey([...where, ...path]),
      };
    });
  }
  if ("delete" in step) return [step.delete].flat().map((text) => ({ kind: "delete", object: objectName(text) }));
  return [step.setAddress].flat().map(({ pod, address }) => ({
    kind: "setAddress",
    object: objectName(`Pod ${pod}`),
    addresses: [address].flat(),
  }));
}

/** Kinds without a namespace, of those a cluster is made of. */
const CLUSTER_WIDE: ReadonlySet<string> = new Set(["Node", "Namespace"]);

/** `NetworkPolicy default/db-policy`; a namespaced name without namespace is in `default`. */
function objectName(text: string): ObjectName {
  const [kind = "", key = ""] = text.split(" ");
  const slash = key.indexOf("/");
  if (slash >= 0) return { kind, namespace: key.slice(0, slash), name: key.slice(slash + 1) };
  return { kind, namespace: CLUSTER_WIDE.has(kind) ? "" : "default", name: key };
}
