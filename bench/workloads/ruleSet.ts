/** One pod and one policy with as many rules as asked for: the textbook workload of a linear rule set. */
import type { SourceRef } from "../../compiler/issue.ts";
import type { ClusterModel, Endpoint, LabelSelector, NetworkPolicy, PolicyRule } from "../../compiler/model.ts";
import { cidrOf, formatCidr, type IpAddress } from "../../dataplane/address.ts";
import { makePacket, type Packet, PROTOCOL } from "../../dataplane/packet.ts";

const BUILT: SourceRef = { file: "rule set", line: 0, column: 0 };
const EVERYTHING: LabelSelector = { matchLabels: [], matchExpressions: [] };
const CREATED = "2026-01-01T00:00:00Z";
const SERVER: IpAddress = { family: 4, words: [(10 << 24) | 2] };
/** The sources of the rules are the addresses from 172.16.0.0 on; 198.18.0.0/15 (RFC 2544) is in none of them. */
const FIRST_SOURCE = (172 << 24) | (16 << 16);
const STRANGER = (198 << 24) | (18 << 16);
const PORT = 8080;

export const RULE_SET_NODE = "node-0";

/** A cluster of one node and one pod, whose one policy admits `count` single addresses, one by one. */
export function ruleSetCluster(count: number): ClusterModel {
  return {
    nodes: [
      {
        name: RULE_SET_NODE,
        labels: new Map(),
        addresses: [{ family: 4, words: [(192 << 24) | (168 << 16) | 11] }],
        podCidrs: [cidrOf({ family: 4, words: [10 << 24] }, 24)],
        source: BUILT,
      },
    ],
    namespaces: [
      {
        name: "default",
        labels: new Map([["kubernetes.io/metadata.name", "default"]]),
        annotations: new Map(),
        uid: "00000000-0000-4000-8000-000000000001",
        source: BUILT,
      },
    ],
    endpoints: [serverPod()],
    policies: [policyOf(count)],
  };
}

/** SYN number `index` (any whole number) of what the rule at `place` (from 0) admits; undefined: what none does. */
export function ruleSetPacket(place: number | undefined, index: number): Packet {
  const source: IpAddress = {
    family: 4,
    words: [place === undefined ? STRANGER + (index & 0x1ffff) : FIRST_SOURCE + place],
  };
  return makePacket({
    protocol: PROTOCOL.tcp,
    source,
    sourcePort: 1024 + (index % 60_000),
    destination: SERVER,
    destinationPort: PORT,
  });
}

function serverPod(): Endpoint {
  return {
    key: "default/server",
    namespace: "default",
    name: "server",
    uid: "00000000-0000-4000-8000-000000000002",
    labels: new Map([["app", "server"]]),
    annotations: new Map(),
    node: RULE_SET_NODE,
    serviceAccount: "default",
    hostNetwork: false,
    phase: "Running",
    terminating: false,
    addresses: [SERVER],
    ports: [{ name: "http", port: PORT, protocol: "TCP", container: "container" }],
    creationTimestamp: CREATED,
    source: BUILT,
  };
}

function policyOf(count: number): NetworkPolicy {
  return {
    key: "default/rules",
    namespace: "default",
    name: "rules",
    uid: "00000000-0000-4000-8000-000000000003",
    creationTimestamp: CREATED,
    podSelector: EVERYTHING,
    types: ["ingress"],
    ingress: Array.from({ length: count }, (_, index) => ruleOf(index)),
    egress: [],
    source: BUILT,
  };
}

function ruleOf(index: number): PolicyRule {
  const cidr = cidrOf({ family: 4, words: [FIRST_SOURCE + index] }, 32);
  return {
    peers: [{ kind: "ipBlock", cidr, cidrText: formatCidr(cidr), except: [], exceptText: [], source: BUILT }],
    ports: [{ protocol: "TCP", port: PORT, endPort: undefined, source: BUILT }],
    source: BUILT,
  };
}
