/**
 * default: what the API server fills in before it stores an object.
 *
 * Source: k8s.io/kubernetes pkg/apis/networking/v1/defaults.go, pkg/apis/core/v1/defaults.go, the ServiceAccount admission.
 */
import { rememberedBy } from "../again.ts";
import { type Fields, isAbsent } from "./fields.ts";
import type { ParsedManifests, ParsedObject } from "./objects.ts";
import { isRecord } from "./values.ts";

/** The namespace of objects that name none. */
export const DEFAULT_NAMESPACE = "default";

/** The label that every namespace carries, with its name as the value. */
export const NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name";

/** The same objects with defaults in place. Values of the wrong type are left alone: validation speaks of them. */
export function applyDefaults(parsed: ParsedManifests): ParsedManifests {
  return { ...parsed, objects: parsed.objects.map((object) => rememberedBy(DEFAULTED, object, withDefaults)) };
}

const DEFAULTED = new WeakMap<ParsedObject, ParsedObject>();

function withDefaults(object: ParsedObject): ParsedObject {
  return { ...object, value: defaulted(object) };
}

function defaulted({ kind, value }: ParsedObject): Fields {
  switch (kind) {
    case "NetworkPolicy":
      return within(inNamespace(value), "spec", defaultPolicySpec);
    case "Pod":
      return within(within(inNamespace(value), "spec", defaultPodSpec), "status", (status) =>
        fill(status, "phase", isEmptyText, "Pending"),
      );
    case "Namespace":
      return within(value, "metadata", (metadata) =>
        within(metadata, "labels", (labels) =>
          typeof metadata.name === "string" ? fill(labels, NAMESPACE_NAME_LABEL, isAbsent, metadata.name) : labels,
        ),
      );
    default:
      return value;
  }
}

function inNamespace(value: Fields): Fields {
  return within(value, "metadata", (metadata) => fill(metadata, "namespace", isEmptyText, DEFAULT_NAMESPACE));
}

function defaultPolicySpec(spec: Fields): Fields {
  const types = isEmptyList(spec.egress) ? ["Ingress"] : ["Ingress", "Egress"];
  const rule = (fields: Fields) => each(fields, "ports", (port) => fill(port, "protocol", isAbsent, "TCP"));
  return each(each(fill(spec, "policyTypes", isEmptyList, types), "ingress", rule), "egress", rule);
}

function defaultPodSpec(spec: Fields): Fields {
  const port = (fields: Fields) => fill(fields, "protocol", isEmptyText, "TCP");
  const container = (fields: Fields) => each(fields, "ports", port);
  const account =
    typeof spec.serviceAccount === "string" && spec.serviceAccount !== "" ? spec.serviceAccount : "default";
  return fill(
    each(each(spec, "containers", container), "initContainers", container),
    "serviceAccountName",
    isEmptyText,
    account,
  );
}

function isEmptyText(value: unknown): boolean {
  return isAbsent(value) || value === "";
}

function isEmptyList(value: unknown): boolean {
  return isAbsent(value) || (Array.isArray(value) && value.length === 0);
}

function fill(fields: Fields, name: string, isMissing: (value: unknown) => boolean, value: unknown): Fields {
  return isMissing(fields[name]) ? { ...fields, [name]: value } : fields;
}

function within(fields: Fields, name: string, change: (inner: Fields) => Fields): Fields {
  const inner = fields[name] ?? {};
  if (!isRecord(inner)) return fields;
  const changed = change(inner);
  return changed === fields[name] ? fields : { ...fields, [name]: changed };
}

/** Changes each item of a list; a null item is an empty one, as Go decodes it. */
function each(fields: Fields, name: string, change: (inner: Fields) => Fields): Fields {
  const list = fields[name];
  if (!Array.isArray(list)) return fields;
  let isChanged = false;
  const items = list.map((item: unknown) => {
    const inner = item ?? {};
    const changed = isRecord(inner) ? change(inner) : item;
    isChanged ||= changed !== item;
    return changed;
  });
  return isChanged ? { ...fields, [name]: items } : fields;
}
