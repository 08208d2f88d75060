/**
 * A NetworkPolicy object -> `NetworkPolicy`, checked as the API server checks it.
 *
 * Source: k8s.io/kubernetes pkg/apis/networking/validation/validation.go, apimachinery meta/v1/validation.
 */
import { type Cidr, cidrContains } from "../../dataplane/address.ts";
import {
  DIRECTIONS,
  type Direction,
  type LabelRequirement,
  type LabelSelector,
  type NetworkPolicy,
  type PolicyPeer,
  type PolicyPort,
  type PolicyRule,
  type PortProtocol,
} from "../model.ts";
import { CIDR_RULE, readCidr } from "./addresses.ts";
import { type FieldReader, type Fields, isAbsent } from "./fields.ts";
import { NO_HOST_NAMES, portNameProblem, portNumberProblem } from "./formats.ts";
import type { ObjectIdentity } from "./identity.ts";
import { formatPath, type Path, quote } from "./values.ts";

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"] as const;
const PROTOCOLS = ["TCP", "UDP", "SCTP"] as const;

export function readPolicy(reader: FieldReader, identity: ObjectIdentity, value: Fields): NetworkPolicy {
  const metadata = reader.record(value.metadata, ["metadata"]);
  reader.labels(metadata.labels, ["metadata", "labels"]);
  reader.annotations(metadata.annotations, ["metadata", "annotations"]);
  const spec = reader.record(value.spec, ["spec"]);
  const known = ["podSelector", "policyTypes", "ingress", "egress"];
  onlyKnownOrName(reader, spec, { path: ["spec"], known });
  const { namespace, name, uid, creationTimestamp } = identity;
  return {
    key: `${namespace}/${name}`,
    namespace,
    name,
    uid,
    creationTimestamp,
    podSelector: readSelector(reader, spec.podSelector, ["spec", "podSelector"]),
    types: readTypes(reader, spec.policyTypes),
    ingress: readRules(reader, spec.ingress, "ingress"),
    egress: readRules(reader, spec.egress, "egress"),
    source: reader.root(),
  };
}

function readTypes(reader: FieldReader, value: unknown): readonly Direction[] {
  const path = ["spec", "policyTypes"];
  const types = new Set<Direction>();
  const list = reader.list(value, path);
  if (list.length > 2) reader.invalid(path, list, "may not specify more than two policyTypes");
  for (const [index, item] of list.entries()) {
    const type = reader.text(item, [...path, index]);
    if (type === "Ingress") types.add("ingress");
    else if (type === "Egress") types.add("egress");
    else if (isTextOrAbsent(item)) reader.unsupported([...path, index], type, ["Ingress", "Egress"]);
  }
  return DIRECTIONS.filter((direction) => types.has(direction));
}

function readRules(reader: FieldReader, value: unknown, direction: Direction): readonly PolicyRule[] {
  const path: Path = ["spec", direction];
  const peersField = direction === "ingress" ? "from" : "to";
  return reader.list(value, path).map((item, index) => {
    const rulePath = [...path, index];
    const rule = reader.record(item, rulePath);
    onlyKnownOrName(reader, rule, { path: rulePath, known: [peersField, "ports"] });
    return {
      peers: reader
        .list(rule[peersField], [...rulePath, peersField])
        .flatMap((peer, peerIndex) => readPeer(reader, peer, [...rulePath, peersField, peerIndex]) ?? []),
      ports: reader
        .list(rule.ports, [...rulePath, "ports"])
        .map((port, portIndex) => readPort(reader, port, [...rulePath, "ports", portIndex])),
      source: reader.source(rulePath),
    };
  });
}

const PEER_FIELDS = ["podSelector", "namespaceSelector", "ipBlock"];
const BLOCK_FIELDS = ["cidr", "except"];

function readPeer(reader: FieldReader, value: unknown, path: Path): PolicyPeer | undefined {
  const peer = reader.record(value, path);
  onlyKnownOrName(reader, peer, { path, known: PEER_FIELDS });
  const { podSelector, namespaceSelector, ipBlock } = peer;
  const selector = (field: string, given: unknown) =>
    isAbsent(given) ? undefined : readSelector(reader, given, [...path, field]);
  const pods: PolicyPeer = {
    kind: "pods",
    namespaceSelector: selector("namespaceSelector", namespaceSelector),
    podSelector: selector("podSelector", podSelector),
    source: reader.source(path),
  };
  const selects = pods.podSelector !== undefined || pods.namespaceSelector !== undefined;
  if (!isAbsent(ipBlock)) {
    if (selects) reader.forbidden(path, "may not specify both ipBlock and another peer");
    return readBlock(reader, ipBlock, path);
  }
  if (selects) return pods;
  if (peer === value || isAbsent(value)) reader.required(path, "must specify a peer");
  return undefined;
}

function readBlock(reader: FieldReader, value: unknown, peerPath: Path): PolicyPeer | undefined {
  const path = [...peerPath, "ipBlock"];
  const block = reader.record(value, path);
  onlyKnownOrName(reader, block, { path, known: BLOCK_FIELDS });
  const cidrText = reader.text(block.cidr, [...path, "cidr"]);
  if (isAbsent(block.cidr) || block.cidr === "") reader.required([...path, "cidr"]);
  const cidr = readCidr(reader, cidrText, [...path, "cidr"]);
  const except: Cidr[] = [];
  const exceptText: string[] = [];
  for (const [index, item] of reader.list(block.except, [...path, "except"]).entries()) {
    const itemPath = [...path, "except", index];
    const text = reader.text(item, itemPath);
    if (isAbsent(item) || item === "") reader.invalid(itemPath, "", CIDR_RULE);
    const excepted = readCidr(reader, text, itemPath);
    if (excepted === undefined || cidr === undefined) continue;
    if (!cidrContains(cidr, excepted) || excepted.prefixLength <= cidr.prefixLength) {
      reader.invalid(itemPath, text, `must be a strict subset of \`cidr\` (${quote(cidrText)})`);
    }
    except.push(excepted);
    exceptText.push(text);
  }
  if (cidr === undefined) return undefined;
  return { kind: "ipBlock", cidr, cidrText, except, exceptText, source: reader.source(peerPath) };
}

/** What other solutions' policies call the names of hosts: toFQDNs, fqdns, hostname, domains, dnsName, url. */
const NAME_FIELD = /fqdn|host|domain|dns|url/i;

/** As `onlyKnown`; a field for host names gets the reason why there is none. */
function onlyKnownOrName(
  reader: FieldReader,
  fields: Fields,
  { path, known }: { readonly path: Path; readonly known: readonly string[] },
): void {
  const names = Object.keys(fields).filter((name) => !known.includes(name) && NAME_FIELD.test(name));
  for (const name of names) {
    const where = [...path, name];
    const message = `strict decoding error: unknown field ${quote(formatPath(where))}; ${NO_HOST_NAMES}`;
    reader.report(where, { code: "host-name", message, at: "key" });
  }
  reader.onlyKnown(fields, path, [...known, ...names]);
}

function readPort(reader: FieldReader, value: unknown, path: Path): PolicyPort {
  const fields = reader.record(value, path);
  reader.onlyKnown(fields, path, ["protocol", "port", "endPort"]);
  const protocol = readProtocol(reader, fields.protocol, [...path, "protocol"]);
  const port = readPortValue(reader, fields.port, [...path, "port"]);
  const endPort = readEndPort(reader, fields.endPort, { port: fields.port, path: [...path, "endPort"] });
  return { protocol, port, endPort, source: reader.source(path) };
}

export function readProtocol(reader: FieldReader, value: unknown, path: Path): PortProtocol {
  const text = reader.text(value, path);
  const known = PROTOCOLS.find((protocol) => protocol === text);
  if (known === undefined && isTextOrAbsent(value)) reader.unsupported(path, text, PROTOCOLS);
  return known ?? "TCP";
}

/** Anything else was complained of when it was read as text. */
function isTextOrAbsent(value: unknown): boolean {
  return typeof value === "string" || isAbsent(value);
}

function readPortValue(reader: FieldReader, value: unknown, path: Path): number | string | undefined {
  if (typeof value === "string") {
    const wrong = portNameProblem(value);
    const hint = /^\d+$/.test(value) ? "; a number is written without quotes" : "";
    if (wrong !== undefined) reader.invalid(path, value, `${wrong}${hint}`);
    return value;
  }
  const port = reader.integer(value, path);
  const wrong = port === undefined ? undefined : portNumberProblem(port);
  if (wrong !== undefined) reader.invalid(path, port, wrong);
  return port;
}

function readEndPort(
  reader: FieldReader,
  value: unknown,
  { port, path }: { readonly port: unknown; readonly path: Path },
): number | undefined {
  const endPort = reader.integer(value, path);
  if (endPort === undefined) return undefined;
  if (isAbsent(port)) reader.invalid(path, endPort, "may not be specified when `port` is not specified");
  else if (typeof port === "string") reader.invalid(path, endPort, "may not be specified when `port` is non-numeric");
  else {
    if (typeof port === "number" && endPort < port) {
      reader.invalid(path, endPort, `must be greater than or equal to \`port\` (${port})`);
    }
    const wrong = portNumberProblem(endPort);
    if (wrong !== undefined) reader.invalid(path, endPort, wrong);
  }
  return endPort;
}

/** A LabelSelector; absent reads as the empty one. Fails closed: what cannot be read is an error. */
export function readSelector(reader: FieldReader, value: unknown, path: Path): LabelSelector {
  const fields = reader.record(value, path);
  reader.onlyKnown(fields, path, ["matchLabels", "matchExpressions"]);
  return {
    matchLabels: [...reader.labels(fields.matchLabels, [...path, "matchLabels"])],
    matchExpressions: reader
      .list(fields.matchExpressions, [...path, "matchExpressions"])
      .flatMap((item, index) => readRequirement(reader, item, [...path, "matchExpressions", index]) ?? []),
  };
}

function readRequirement(reader: FieldReader, value: unknown, path: Path): LabelRequirement | undefined {
  const fields = reader.record(value, path);
  if (fields !== value && !isAbsent(value)) return undefined;
  reader.onlyKnown(fields, path, ["key", "operator", "values"]);
  const valuesPath = [...path, "values"];
  const values = reader.list(fields.values, valuesPath).map((item, index) => {
    const text = reader.text(item, [...valuesPath, index]);
    reader.labelValue(text, [...valuesPath, index]);
    return text;
  });
  const operator = OPERATORS.find((known) => known === fields.operator);
  switch (operator) {
    case undefined: {
      const operators = `one of ${OPERATORS.join(", ")}`;
      reader.invalid([...path, "operator"], fields.operator ?? "", `not a valid selector operator (${operators})`);
      break;
    }
    case "In":
    case "NotIn":
      if (values.length === 0) reader.required(valuesPath, "must be specified when `operator` is 'In' or 'NotIn'");
      break;
    case "Exists":
    case "DoesNotExist":
      if (values.length > 0) {
        reader.forbidden(valuesPath, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
      }
      break;
  }
  const key = reader.text(fields.key, [...path, "key"]);
  if (isTextOrAbsent(fields.key)) reader.labelKey(key, [...path, "key"]);
  return operator === undefined ? undefined : { key, operator, values };
}
