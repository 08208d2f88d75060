/**
 * A NetworkPolicy object -> `NetworkPolicy`, checked as the API server checks it.
 *
 * Source: k8s.io/kubernetes pkg/apis/networking/validation/validation.go, apimachinery meta/v1/validation.
 */
import { addressBits, type Cidr, cidrContains, cidrOf, formatCidr, parseAddress } from "../../dataplane/address.ts";
import type {
  Direction,
  LabelRequirement,
  LabelSelector,
  NetworkPolicy,
  PolicyPeer,
  PolicyPort,
  PolicyRule,
  PortProtocol,
} from "../model.ts";
import { type FieldReader, type Fields, isAbsent } from "./fields.ts";
import { looksLikeHostName, NO_HOST_NAMES, portNameProblem, portNumberProblem } from "./formats.ts";
import { describe, type Path, quote } from "./values.ts";

export interface ObjectIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly creationTimestamp: string;
}

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"] as const;
const PROTOCOLS = ["TCP", "UDP", "SCTP"] as const;

export function readPolicy(reader: FieldReader, identity: ObjectIdentity, spec: Fields): NetworkPolicy {
  reader.onlyKnown(spec, ["spec"], ["podSelector", "policyTypes", "ingress", "egress"]);
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
    source: reader.source([]),
  };
}

function readTypes(reader: FieldReader, value: unknown): readonly Direction[] {
  const path = ["spec", "policyTypes"];
  const types = new Set<Direction>();
  const list = reader.list(value, path);
  if (list.length > 2) reader.invalid(path, JSON.stringify(list), "may not specify more than two policyTypes");
  for (const [index, type] of list.entries()) {
    if (type === "Ingress") types.add("ingress");
    else if (type === "Egress") types.add("egress");
    else {
      reader.report([...path, index], {
        code: "not-supported",
        message: `Unsupported value: ${typeof type === "string" ? quote(type) : describe(type)}: supported values: "Egress", "Ingress"`,
      });
    }
  }
  return [...types];
}

function readRules(reader: FieldReader, value: unknown, direction: Direction): readonly PolicyRule[] {
  const path: Path = ["spec", direction];
  const peersField = direction === "ingress" ? "from" : "to";
  return reader.list(value, path).map((item, index) => {
    const rulePath = [...path, index];
    const rule = reader.record(item, rulePath);
    reader.onlyKnown(rule, rulePath, [peersField, "ports"]);
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

function readPeer(reader: FieldReader, value: unknown, path: Path): PolicyPeer | undefined {
  const peer = reader.record(value, path);
  reader.onlyKnown(peer, path, ["podSelector", "namespaceSelector", "ipBlock"]);
  const { podSelector, namespaceSelector, ipBlock } = peer;
  const bySelector = !isAbsent(podSelector) || !isAbsent(namespaceSelector);
  if (!isAbsent(ipBlock)) {
    if (bySelector) {
      reader.report(path, { code: "forbidden", message: "Forbidden: may not specify both ipBlock and another peer" });
    }
    return readBlock(reader, reader.record(ipBlock, [...path, "ipBlock"]), [...path, "ipBlock"]);
  }
  if (!bySelector) {
    reader.required(path, "must specify a peer");
    return undefined;
  }
  const selector = (field: string, given: unknown) =>
    isAbsent(given) ? undefined : readSelector(reader, given, [...path, field]);
  return {
    kind: "pods",
    podSelector: selector("podSelector", podSelector),
    namespaceSelector: selector("namespaceSelector", namespaceSelector),
    source: reader.source(path),
  };
}

function readBlock(reader: FieldReader, block: Fields, path: Path): PolicyPeer | undefined {
  reader.onlyKnown(block, path, ["cidr", "except"]);
  const cidrText = reader.text(block.cidr, [...path, "cidr"]);
  if (cidrText === "") {
    reader.required([...path, "cidr"]);
    return undefined;
  }
  const cidr = readCidr(reader, cidrText, [...path, "cidr"]);
  const except: Cidr[] = [];
  const exceptText: string[] = [];
  for (const [index, item] of reader.list(block.except, [...path, "except"]).entries()) {
    const itemPath = [...path, "except", index];
    const text = reader.text(item, itemPath);
    const excepted = readCidr(reader, text, itemPath);
    if (excepted === undefined || cidr === undefined) continue;
    const inside = cidrContains(cidr, excepted) && excepted.prefixLength > cidr.prefixLength;
    if (!inside) {
      reader.invalid(itemPath, text, `must be a strict subset of \`cidr\` (${formatCidr(cidr)})`);
      continue;
    }
    except.push(excepted);
    exceptText.push(text);
  }
  if (cidr === undefined) return undefined;
  return { kind: "ipBlock", cidr, cidrText, except, exceptText, source: reader.source(path) };
}

function readCidr(reader: FieldReader, text: string, path: Path): Cidr | undefined {
  const slash = text.indexOf("/");
  const address = slash < 0 ? undefined : parseAddress(text.slice(0, slash));
  const length = text.slice(slash + 1);
  if (address === undefined || !/^\d{1,3}$/.test(length) || Number(length) > addressBits(address.family)) {
    reader.invalid(path, text, cidrProblem(text), looksLikeHostName(text) ? "host-name" : "invalid");
    return undefined;
  }
  const cidr = cidrOf(address, Number(length));
  if (cidr.words.some((word, index) => word !== address.words[index])) {
    reader.report(path, {
      code: "host-bits",
      severity: "warning",
      message: `${quote(text)} has bits set beyond its prefix; it is read as ${quote(formatCidr(cidr))}`,
    });
  }
  return cidr;
}

function cidrProblem(text: string): string {
  const rule = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
  if (!looksLikeHostName(text)) {
    const address = parseAddress(text);
    if (address === undefined) return rule;
    return `${rule}; for this one address write ${quote(`${text}/${addressBits(address.family)}`)}`;
  }
  return `${rule}; ${NO_HOST_NAMES}`;
}

function readPort(reader: FieldReader, value: unknown, path: Path): PolicyPort {
  const fields = reader.record(value, path);
  reader.onlyKnown(fields, path, ["protocol", "port", "endPort"]);
  const protocol = readProtocol(reader, fields.protocol, [...path, "protocol"]);
  const port = readPortValue(reader, fields.port, [...path, "port"]);
  const endPort = readEndPort(reader, fields.endPort, {
    port,
    given: !isAbsent(fields.port),
    path: [...path, "endPort"],
  });
  return { protocol, port, endPort, source: reader.source(path) };
}

export function readProtocol(reader: FieldReader, value: unknown, path: Path): PortProtocol {
  const known = PROTOCOLS.find((protocol) => protocol === value);
  if (known !== undefined) return known;
  reader.report(path, {
    code: "not-supported",
    message: `Unsupported value: ${typeof value === "string" ? quote(value) : describe(value)}: supported values: "SCTP", "TCP", "UDP"`,
  });
  return "TCP";
}

function readPortValue(reader: FieldReader, value: unknown, path: Path): number | string | undefined {
  if (isAbsent(value)) return undefined;
  if (typeof value === "number") {
    const wrong = portNumberProblem(value);
    if (wrong !== undefined) reader.invalid(path, value, wrong);
    return value;
  }
  const name = reader.text(value, path);
  const wrong = typeof value === "string" ? portNameProblem(name) : undefined;
  if (wrong !== undefined) reader.invalid(path, name, wrong);
  return name;
}

function readEndPort(
  reader: FieldReader,
  value: unknown,
  context: { readonly port: number | string | undefined; readonly given: boolean; readonly path: Path },
): number | undefined {
  if (isAbsent(value)) return undefined;
  const { port, given, path } = context;
  if (typeof value !== "number") {
    reader.report(path, { code: "wrong-type", message: `found ${describe(value)}, want a number` });
    return undefined;
  }
  if (!given) reader.invalid(path, value, "may not be specified when `port` is not specified");
  else if (typeof port === "string") reader.invalid(path, value, "may not be specified when `port` is non-numeric");
  else if (port !== undefined && value < port) {
    reader.invalid(path, value, `must be greater than or equal to \`port\` (${port})`);
  }
  const wrong = portNumberProblem(value);
  if (wrong !== undefined) reader.invalid(path, value, wrong);
  return value;
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
  reader.onlyKnown(fields, path, ["key", "operator", "values"]);
  const key = reader.text(fields.key, [...path, "key"]);
  const values = reader
    .list(fields.values, [...path, "values"])
    .map((item, index) => reader.text(item, [...path, "values", index]));
  const operator = OPERATORS.find((known) => known === fields.operator);
  switch (operator) {
    case undefined:
      reader.invalid(
        [...path, "operator"],
        fields.operator ?? "",
        `not a valid selector operator (one of ${OPERATORS.join(", ")})`,
      );
      break;
    case "In":
    case "NotIn":
      if (values.length === 0) {
        reader.required([...path, "values"], "must be specified when `operator` is 'In' or 'NotIn'");
      }
      break;
    case "Exists":
    case "DoesNotExist":
      if (values.length > 0) {
        reader.report([...path, "values"], {
          code: "forbidden",
          message: "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        });
      }
      break;
  }
  for (const [index, text] of values.entries()) reader.label([...path, "values", index], "key", text);
  if (key === "") reader.required([...path, "key"]);
  else reader.label([...path, "key"], key, "");
  return operator === undefined || key === "" ? undefined : { key, operator, values };
}
