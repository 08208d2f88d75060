/**
 * default: what the API server fills in before it stores an object.
 *
 * Source: k8s.io/kubernetes pkg/apis/networking/v1/defaults.go, pkg/apis/core/v1/defaults.go.
 */
import type { ParsedManifests, ParsedObject } from "./objects.ts";
import { isRecord } from "./values.ts";

type Fields = Readonly<Record<string, unknown>>;

/** The namespace of objects that name none. */
export const DEFAULT_NAMESPACE = "default";

/** The label that every namespace carries, with its name as the value. */
export const NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name";

/** The same objects with defaults in place. Values of the wrong type are left alone: validation speaks of them. */
export function applyDefaults(parsed: ParsedManifests): ParsedManifests {
  return { ...parsed, objects: parsed.objects.map((object) => ({ ...object, value: defaulted(object) })) };
}

function defaulted({ kind, value }: ParsedObject): Fields {
  switch (kind) {
    case "NetworkPolicy":
      return within(inNamespace(value), "spec", defaultPolicySpec);
    case "Pod":
      return within(within(inNamespace(value), "spec", defaultPodSpec), "status", (status) =>
        fill(status, { phase: "Pending" }),
      );
    case "Namespace":
      return within(value, "metadata", (metadata) =>
        within(metadata, "labels", (labels) => fill(labels, { [NAMESPACE_NAME_LABEL]: metadata.name })),
      );
    default:
      return value;
  }
}

function inNamespace(value: Fields): Fields {
  return within(value, "metadata", (metadata) =>
    metadata.namespace === ""
      ? { ...metadata, namespace: DEFAULT_NAMESPACE }
      : fill(metadata, { namespace: DEFAULT_NAMESPACE }),
  );
}

function defaultPolicySpec(spec: Fields): Fields {
  const isEmpty = (list: unknown) => absent(list) || (Array.isArray(list) && list.length === 0);
  const types = isEmpty(spec.policyTypes)
    ? { policyTypes: isEmpty(spec.egress) ? ["Ingress"] : ["Ingress", "Egress"] }
    : {};
  const rule = (fields: Fields) => each(fields, "ports", (port) => fill(port, { protocol: "TCP" }));
  return each(each({ ...spec, ...types }, "ingress", rule), "egress", rule);
}

function defaultPodSpec(spec: Fields): Fields {
  const container = (fields: Fields) => each(fields, "ports", (port) => fill(port, { protocol: "TCP" }));
  return fill(each(each(spec, "containers", container), "initContainers", container), {
    serviceAccountName: typeof spec.serviceAccount === "string" ? spec.serviceAccount : "default",
  });
}

function absent(value: unknown): boolean {
  return value === undefined || value === null;
}

function fill(fields: Fields, defaults: Fields): Fields {
  const missing = Object.entries(defaults).filter(([name]) => absent(fields[name]));
  return missing.length === 0 ? fields : { ...fields, ...Object.fromEntries(missing) };
}

function within(fields: Fields, name: string, change: (inner: Fields) => Fields): Fields {
  const inner = fields[name];
  if (absent(inner)) return { ...fields, [name]: change({}) };
  return isRecord(inner) ? { ...fields, [name]: change(inner) } : fields;
}

function each(fields: Fields, name: string, change: (inner: Fields) => Fields): Fields {
  const list = fields[name];
  if (!Array.isArray(list)) return fields;
  return { ...fields, [name]: list.map((item: unknown) => (isRecord(item) ? change(item) : item)) };
}
