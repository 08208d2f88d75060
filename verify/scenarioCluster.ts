/** The cluster of a scenario: API objects that come, go and move, and what they make together. */
import { type LoadedCluster, loadObjects, resolvePolicies } from "../compiler/compile.ts";
import type { Issue } from "../compiler/issue.ts";
import type { ParsedObject } from "../compiler/manifest/objects.ts";
import { isRecord } from "../compiler/manifest/values.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { ChangeStep, ClusterChange, ObjectName } from "./scenario.ts";

/** The kinds that say something about network policy. */
const KINDS = ["NetworkPolicy", "Pod", "Namespace", "Node"] as const;

export interface ChangedObjects {
  readonly objects: readonly ParsedObject[];
  /** What the change cannot do, in words. */
  readonly problems: readonly string[];
}

/** The objects after a change; `file` is where the change is written. */
export function changeObjects(objects: readonly ParsedObject[], change: ClusterChange, file: string): ChangedObjects {
  switch (change.kind) {
    case "apply": {
      const { apiVersion, kind } = change.value;
      if (typeof apiVersion !== "string" || typeof kind !== "string" || !isKnown(kind)) {
        return { objects, problems: [`apply takes objects with an apiVersion, of the kinds ${KINDS.join(", ")}`] };
      }
      const { value, positionOf, positionOfKey } = change;
      const applied: ParsedObject = { file, apiVersion, kind, value, positionOf, positionOfKey };
      return {
        objects: [...objects.filter((object) => !isSame(nameOf(object), nameOf(applied))), applied],
        problems: [],
      };
    }
    case "delete": {
      const kept = objects.filter((object) => !isSame(nameOf(object), change.object));
      return { objects: kept, problems: kept.length === objects.length ? [missing(change.object)] : [] };
    }
    case "setAddress": {
      const found = objects.find((object) => isSame(nameOf(object), change.object));
      if (found === undefined) return { objects, problems: [missing(change.object)] };
      const moved = { ...found, value: withAddresses(found.value, change.addresses) };
      return { objects: objects.map((object) => (object === found ? moved : object)), problems: [] };
    }
  }
}

function isKnown(kind: string): boolean {
  return KINDS.some((known) => known === kind);
}

function missing(object: ObjectName): string {
  return `there is no ${objectText(object)}`;
}

function objectText({ kind, namespace, name }: ObjectName): string {
  return `${kind} ${namespace === "" ? name : `${namespace}/${name}`}`;
}

export function nameOf({ kind, value }: Pick<ParsedObject, "kind" | "value">): ObjectName {
  const metadata = isRecord(value.metadata) ? value.metadata : {};
  const isNamespaced = kind === "Pod" || kind === "NetworkPolicy";
  const namespace =
    typeof metadata.namespace === "string" && metadata.namespace !== "" ? metadata.namespace : "default";
  return { kind, namespace: isNamespaced ? namespace : "", name: String(metadata.name) };
}

function isSame(a: ObjectName, b: ObjectName): boolean {
  return a.kind === b.kind && a.name === b.name && a.namespace === b.namespace;
}

function withAddresses(value: ParsedObject["value"], addresses: readonly string[]): ParsedObject["value"] {
  const status = isRecord(value.status) ? value.status : {};
  return { ...value, status: { ...status, podIP: addresses[0], podIPs: addresses.map((ip) => ({ ip })) } };
}

/** What the objects make together; never throws on what they say. */
function loadChanged(objects: readonly ParsedObject[]): LoadedCluster {
  return loadObjects({ objects, issues: [], skipped: new Map(), services: [] });
}

/** A change step carried out: the cluster after it, or why there is none. */
export type ChangedCluster =
  | { readonly kind: "changed"; readonly objects: readonly ParsedObject[]; readonly cluster: ResolvedCluster }
  | { readonly kind: "invalid"; readonly issues: readonly Issue[] };

/** The cluster after the changes of one step. */
export function changeCluster(before: readonly ParsedObject[], step: ChangeStep, file: string): ChangedCluster {
  let objects = before;
  for (const change of step.changes) {
    const changed = changeObjects(objects, change, file);
    if (changed.problems.length > 0) {
      return { kind: "invalid", issues: changed.problems.map((problem) => stepIssue(step, file, problem)) };
    }
    objects = changed.objects;
  }
  const { model, issues } = loadChanged(objects);
  if (model === undefined) {
    const errors = issues.filter(({ severity }) => severity === "error");
    return { kind: "invalid", issues: [stepIssue(step, file, "this change leaves no valid cluster:"), ...errors] };
  }
  return { kind: "changed", objects, cluster: resolvePolicies(model) };
}

/** An issue at a step. */
export function stepIssue(
  step: { readonly line: number; readonly column: number },
  file: string,
  message: string,
): Issue {
  return { code: "scenario", severity: "error", message, file, line: step.line, column: step.column, path: "" };
}

/** `apply NetworkPolicy default/db-policy`, for people. */
export function describeChange(change: ClusterChange): string {
  switch (change.kind) {
    case "apply": {
      const { kind } = change.value;
      return `apply ${objectText(nameOf({ kind: String(kind), value: change.value }))}`;
    }
    case "delete":
      return `delete ${objectText(change.object)}`;
    case "setAddress":
      return `${objectText(change.object)} now has ${change.addresses.join(" and ")}`;
  }
}
