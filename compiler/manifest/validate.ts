/**
 * validate: defaulted objects -> ClusterModel and issues. What the API server would refuse is refused, in its words; all
 * problems are reported at once. Checks of one object are in read*.ts, those between objects in together.ts.
 */
import { rememberedBy } from "../again.ts";
import { compareText } from "../age.ts";
import { formatIssuePlace, type Issue } from "../issue.ts";
import type { ClusterModel, ClusterNode, Endpoint, Namespace, NetworkPolicy } from "../model.ts";
import { FieldReader, issueAt, type Report } from "./fields.ts";
import { type ObjectIdentity, readIdentity } from "./identity.ts";
import type { ParsedManifests, ParsedObject } from "./objects.ts";
import { readNamespace, readNode, readPod } from "./readCluster.ts";
import { readPolicy } from "./readPolicy.ts";
import { placeInNamespaces, placeOnNodes, type ReadItem, settleAddresses, warnOfUnresolvedPorts } from "./together.ts";
import { quote } from "./values.ts";

export interface ValidatedCluster {
  /** What could be read. Not to be compiled when an issue is an error. */
  readonly model: ClusterModel;
  /** In order of file and place. */
  readonly issues: readonly Issue[];
}

/** Every object has these and no others; `status` of a NetworkPolicy is one of old. */
const OBJECT_FIELDS = ["apiVersion", "kind", "metadata", "spec", "status"];

export function validateCluster(parsed: ParsedManifests): ValidatedCluster {
  const issues: Issue[] = [...parsed.issues];
  const readAll = <T>(kind: string, read: ReadOne<T>) => readKind(parsed.objects, { kind, read, issues });
  const nodes = readAll<ClusterNode>("Node", readNode);
  const namespaces = readAll<Namespace>("Namespace", readNamespace);
  const pods = readAll<Endpoint>("Pod", readPod);
  const policies = readAll<NetworkPolicy>("NetworkPolicy", readPolicy);

  const allNamespaces = placeInNamespaces(pods, policies, namespaces.map(itemOf));
  const placed = placeOnNodes(pods, nodes.map(itemOf));
  const endpoints = settleAddresses(placed.pods);
  warnOfUnresolvedPorts(policies, endpoints);
  const model: ClusterModel = {
    nodes: sorted(placed.nodes, ({ name }) => name),
    namespaces: sorted(allNamespaces, ({ name }) => name),
    endpoints,
    policies: policies.map(itemOf),
  };
  issues.sort((a, b) => compareText(a.file, b.file) || a.line - b.line || a.column - b.column);
  return { model, issues };
}

type ReadOne<T> = (reader: FieldReader, identity: ObjectIdentity, value: ParsedObject["value"]) => T;

/** The objects of a kind, in order of namespace and name, each name once. */
function readKind<T>(
  objects: readonly ParsedObject[],
  { kind, read, issues }: { readonly kind: string; readonly read: ReadOne<T>; readonly issues: Issue[] },
): readonly ReadItem<T>[] {
  const found = new Map<string, ReadItem<T>>();
  for (const object of objects) {
    if (object.kind !== kind) continue;
    const { identity, item, reports } = rememberedBy(OBJECTS, object, () => readObject(object, read)) as ReadObject<T>;
    const tell = (report: Report) => issues.push(issueAt(object, report));
    reports.forEach(tell);
    if (identity === undefined || item === undefined) continue;
    const reader = new FieldReader(object, tell);
    const key = identity.namespace === "" ? identity.name : `${identity.namespace}/${identity.name}`;
    const first = found.get(key);
    if (first === undefined) found.set(key, { key, item, reader });
    else reader.report(["metadata", "name"], { code: "duplicate", message: twice(kind, key, first) });
  }
  return sorted(found.values(), ({ key }) => key);
}

/** What one object says, whatever stands beside it. */
interface ReadObject<T> {
  /** Undefined when the object has no name. */
  readonly identity: ObjectIdentity | undefined;
  readonly item: T | undefined;
  readonly reports: readonly Report[];
}

const OBJECTS = new WeakMap<ParsedObject, ReadObject<unknown>>();

function readObject<T>(object: ParsedObject, read: ReadOne<T>): ReadObject<T> {
  const reports: Report[] = [];
  const reader = new FieldReader(object, (report) => reports.push(report));
  reader.onlyKnown(object.value, [], OBJECT_FIELDS);
  const identity = readIdentity(reader, object);
  return { identity, item: identity && read(reader, identity, object.value), reports };
}

function twice(kind: string, key: string, { reader }: ReadItem<unknown>): string {
  return `${kind} ${quote(key)} already exists: the first is at ${formatIssuePlace(reader.source(["metadata", "name"]))}`;
}

function itemOf<T>({ item }: ReadItem<T>): T {
  return item;
}

function sorted<T>(items: Iterable<T>, key: (item: T) => string): readonly T[] {
  return [...items].sort((a, b) => compareText(key(a), key(b)));
}
