/** Who an object is: its metadata, checked as the API server checks those of every kind. */
import { type FieldReader, isAbsent } from "./fields.ts";
import { apiTime, dnsLabelProblem, dnsSubdomainProblem } from "./formats.ts";
import type { ParsedObject } from "./objects.ts";

export interface ObjectIdentity {
  /** "" for what is in no namespace. */
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** "" when absent. */
  readonly creationTimestamp: string;
}

/** metav1.ObjectMeta, with the fields of old versions that dumps of old clusters have. */
const METADATA_FIELDS = [
  "name",
  "namespace",
  "labels",
  "annotations",
  "uid",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "finalizers",
  "generateName",
  "generation",
  "managedFields",
  "ownerReferences",
  "resourceVersion",
  "selfLink",
  "clusterName",
  "initializers",
];

/** Undefined when the object has no name to speak of it by. */
export function readIdentity(reader: FieldReader, { kind, value }: ParsedObject): ObjectIdentity | undefined {
  const metadata = reader.record(value.metadata, ["metadata"]);
  reader.onlyKnown(metadata, ["metadata"], METADATA_FIELDS);
  const text = (field: string) => reader.text(metadata[field], ["metadata", field]);
  const isNamespaced = kind === "Pod" || kind === "NetworkPolicy";
  const namespace = text("namespace");
  const wrongNamespace = isNamespaced ? dnsLabelProblem(namespace) : undefined;
  const isText = isAbsent(metadata.namespace) || typeof metadata.namespace === "string";
  if (wrongNamespace !== undefined && isText) reader.invalid(["metadata", "namespace"], namespace, wrongNamespace);
  if (!isNamespaced && namespace !== "") reader.forbidden(["metadata", "namespace"], "not allowed on this type");
  const identity = {
    namespace: isNamespaced ? namespace : "",
    name: text("name"),
    uid: text("uid"),
    creationTimestamp: readTime(reader, metadata.creationTimestamp),
  };
  if (identity.name !== "") {
    const wrong = kind === "Namespace" ? dnsLabelProblem(identity.name) : dnsSubdomainProblem(identity.name);
    if (wrong !== undefined) reader.invalid(["metadata", "name"], identity.name, wrong);
    return identity;
  }
  if (isAbsent(metadata.name) || metadata.name === "") {
    const generated = text("generateName");
    const hint =
      generated === "" ? "name or generateName is required" : "the name that the API server generated is needed";
    reader.required(["metadata", "name"], hint);
  }
  return undefined;
}

function readTime(reader: FieldReader, value: unknown): string {
  const path = ["metadata", "creationTimestamp"];
  const text = reader.text(value, path);
  const time = text === "" ? "" : apiTime(text);
  if (time === undefined) reader.invalid(path, text, "must be a time of RFC 3339, (e.g. 2026-01-31T12:00:00Z)");
  return time ?? "";
}
