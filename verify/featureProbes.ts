/**
 * What there is to ask about each feature of the NetworkPolicy API: small clusters and packets, put to every strategy. The
 * table of docs/strategies.md is their answers, never typed.
 */

export interface FeatureProbe {
  /** Rows of one feature stand together in this order. */
  readonly feature: string;
  /** What the packet is, in words. */
  readonly asked: string;
  /** Specs of policies of the namespace shop, as YAML. */
  readonly policies: readonly string[];
  /** The one-line form; names of pods are looked up in shop. */
  readonly packet: string;
  /** What happened before, under policies of its own. Undefined: the packet is the first of all. */
  readonly before?: { readonly policies: readonly string[]; readonly packets: readonly string[] };
}

interface ProbePod {
  readonly name: string;
  readonly namespace: "shop" | "other";
  readonly node: "a" | "b";
  /** Last part of its addresses; each pod is in a Romana block of its own. */
  readonly host: number;
  /** The number of the port that it calls http. */
  readonly port: number | undefined;
}

const PODS: readonly ProbePod[] = [
  { name: "web", namespace: "shop", node: "a", host: 10, port: 8080 },
  { name: "client", namespace: "shop", node: "b", host: 25, port: undefined },
  { name: "batch", namespace: "shop", node: "a", host: 33, port: undefined },
  { name: "guest", namespace: "other", node: "a", host: 41, port: 8080 },
  { name: "spare", namespace: "other", node: "b", host: 49, port: 9090 },
];

/**
 * Two nodes, two namespaces, five pods, addresses of both families. The namespace shop carries the annotation by which
 * Romana isolates, without which it would filter nothing; nobody else reads it.
 */
export const PROBE_CLUSTER = `
apiVersion: v1
kind: Node
metadata: { name: node-a }
spec: { podCIDRs: [10.10.1.0/24, "fd00:10:1::/64"] }
status:
  addresses: [{ type: InternalIP, address: 192.168.0.11 }, { type: InternalIP, address: "fd00:192:168::11" }]
---
apiVersion: v1
kind: Node
metadata: { name: node-b }
spec: { podCIDRs: [10.10.2.0/24, "fd00:10:2::/64"] }
status:
  addresses: [{ type: InternalIP, address: 192.168.0.12 }, { type: InternalIP, address: "fd00:192:168::12" }]
---
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  annotations: { net.beta.kubernetes.io/networkpolicy: '{"ingress":{"isolation":"DefaultDeny"}}' }
---
apiVersion: v1
kind: Namespace
metadata: { name: other }
${PODS.map(podText).join("")}`;

function podText({ name, namespace, node, host, port }: ProbePod): string {
  const subnet = node === "a" ? 1 : 2;
  const ports = port === undefined ? "" : `, ports: [{ name: http, containerPort: ${port} }]`;
  return `---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, labels: { app: ${name} } }
spec: { nodeName: node-${node}, containers: [{ name: main, image: "app:1"${ports} }] }
status:
  phase: Running
  podIP: 10.10.${subnet}.${host}
  podIPs: [{ ip: 10.10.${subnet}.${host} }, { ip: "fd00:10:${subnet}::${host}" }]
`;
}

const WEB = "podSelector: { matchLabels: { app: web } }";
const CLIENT = "podSelector: { matchLabels: { app: client } }";
const INGRESS = `${WEB}, policyTypes: [Ingress]`;
// The ingress rule has no effect, types being what they are; without one Romana would stop everything, which has a row of its own.
const EGRESS = `${CLIENT}, policyTypes: [Egress], ingress: [{}]`;
const CLOSED = `{ ${INGRESS} }`;
const CLOSED_EGRESS = `{ ${EGRESS} }`;
const block = (cidr: string, ...except: readonly string[]) =>
  `{ ipBlock: { cidr: "${cidr}"${except.length > 0 ? `, except: [${except.map((one) => `"${one}"`).join(", ")}]` : ""} } }`;
const from = (...peers: readonly string[]) => `{ ${INGRESS}, ingress: [{ from: [${peers.join(", ")}] }] }`;
const to = (...peers: readonly string[]) => `{ ${EGRESS}, egress: [{ to: [${peers.join(", ")}] }] }`;
const ports = (...entries: readonly string[]) => `{ ${INGRESS}, ingress: [{ ports: [${entries.join(", ")}] }] }`;

type Row = readonly [asked: string, policies: readonly string[], packet: string];

function rows(feature: string, listed: readonly Row[]): readonly FeatureProbe[] {
  return listed.map(([asked, policies, packet]) => ({ feature, asked, policies, packet }));
}

export const FEATURE_PROBES: readonly FeatureProbe[] = [
  ...rows("isolation", [
    ["to a pod that a policy closes", [CLOSED], "tcp client > web:80"],
    [
      "between two other pods, beside a policy about egress alone",
      [`{ ${CLIENT}, policyTypes: [Egress] }`, `{ ${INGRESS}, ingress: [{}] }`],
      "tcp other/guest > web:80",
    ],
    ["from a pod that a policy closes", [CLOSED_EGRESS], "tcp client > other/guest:80"],
    [
      "under an ingress rule of a policy that is about egress alone, to a pod that another closes",
      [CLOSED, `{ ${WEB}, policyTypes: [Egress], ingress: [{}], egress: [{}] }`],
      "tcp client > web:80",
    ],
    [
      "the source of one rule at the port of another",
      [
        `{ ${INGRESS}, ingress: [{ from: [{ ${CLIENT} }], ports: [{ port: 80 }] }, { from: [{ podSelector: { matchLabels: { app: batch } } }], ports: [{ port: 443 }] }] }`,
      ],
      "tcp client > web:443",
    ],
    [
      "between two pods of one policy that lets the source out and nobody in",
      ["{ podSelector: {}, policyTypes: [Ingress, Egress], egress: [{}] }"],
      "tcp client > web:80",
    ],
  ]),
  ...rows("pod and namespace selectors", [
    ["from a pod that the selector selects", [from(`{ ${CLIENT} }`)], "tcp client > web:80"],
    ["from a pod that it does not select", [from(`{ ${CLIENT} }`)], "tcp batch > web:80"],
    [
      "from a pod of a selected namespace",
      [from("{ namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: other } } }")],
      "tcp other/guest > web:80",
    ],
    [
      "from a pod that a matchExpression selects",
      [from("{ podSelector: { matchExpressions: [{ key: app, operator: In, values: [client] }] } }")],
      "tcp client > web:80",
    ],
  ]),
  ...rows("ipBlock", [
    ["from an outside address in the block", [from(block("203.0.113.0/24"))], "tcp 203.0.113.9 > web:80"],
    ["from an outside address not in it", [from(block("203.0.113.0/24"))], "tcp 198.51.100.9 > web:80"],
    ["to an outside address in the block", [to(block("203.0.113.0/24"))], "tcp client > 203.0.113.9:80"],
  ]),
  ...rows("ipBlock against pod addresses", [
    ["from a pod in the block", [from(block("10.10.0.0/16"))], "tcp client > web:80"],
    ["to a pod in the block", [to(block("10.10.0.0/16"))], "tcp client > other/guest:80"],
    ["from a pod of another namespace, 0.0.0.0/0", [from(block("0.0.0.0/0"))], "tcp other/guest > web:80"],
    ["from another node in the block", [from(block("192.168.0.0/24"))], "tcp node:node-b > web:80"],
  ]),
  ...rows("except", [
    [
      "from the block beside its exception",
      [from(block("203.0.113.0/24", "203.0.113.128/25"))],
      "tcp 203.0.113.9 > web:80",
    ],
    ["from the exception", [from(block("203.0.113.0/24", "203.0.113.128/25"))], "tcp 203.0.113.129 > web:80"],
    [
      "from the exception, which a wider block of the same rule has",
      [from(block("203.0.113.0/24", "203.0.113.128/25"), block("203.0.0.0/16"))],
      "tcp 203.0.113.129 > web:80",
    ],
    [
      "from the exception, which another policy has",
      [from(block("203.0.113.0/24", "203.0.113.128/25")), from(block("203.0.0.0/16"))],
      "tcp 203.0.113.129 > web:80",
    ],
    [
      "from a pod in the exception that a selector of the rule selects",
      [from(block("10.10.0.0/16", "10.10.2.0/24"), `{ ${CLIENT} }`)],
      "tcp client > web:80",
    ],
  ]),
  ...rows("named ports", [
    ["to the number of the name", [ports("{ port: http }")], "tcp client > web:8080"],
    ["to another number", [ports("{ port: http }")], "tcp client > web:80"],
    [
      "out, to the number of the name at that pod",
      [
        `{ ${EGRESS}, egress: [{ to: [{ namespaceSelector: {}, podSelector: { matchLabels: { app: guest } } }], ports: [{ port: http }] }] }`,
      ],
      "tcp client > other/guest:8080",
    ],
    [
      "out, to the number that the name has at another pod",
      [`{ ${EGRESS}, egress: [{ to: [{ namespaceSelector: {} }], ports: [{ port: http }] }] }`],
      "tcp client > other/spare:8080",
    ],
    [
      "out, to a number of the name, in an ipBlock",
      [`{ ${EGRESS}, egress: [{ to: [${block("10.10.0.0/16")}], ports: [{ port: http }] }] }`],
      "tcp client > other/guest:8080",
    ],
  ]),
  ...rows("endPort", [
    ["to the first port", [ports("{ port: 8000, endPort: 8010 }")], "tcp client > web:8000"],
    ["to a port inside the range", [ports("{ port: 8000, endPort: 8010 }")], "tcp client > web:8005"],
    ["to the last port", [ports("{ port: 8000, endPort: 8010 }")], "tcp client > web:8010"],
    ["to the port behind it", [ports("{ port: 8000, endPort: 8010 }")], "tcp client > web:8011"],
  ]),
  ...rows("UDP", [
    ["to an allowed port", [ports("{ protocol: UDP, port: 53 }")], "udp client > web:53"],
    ["to a port that is allowed for TCP", [ports("{ port: 53 }")], "udp client > web:53"],
    ["where the protocol is allowed without a port", [ports("{ protocol: UDP }")], "udp client > web:53"],
  ]),
  ...rows("SCTP", [
    ["to an allowed port", [ports("{ protocol: SCTP, port: 36412 }")], "sctp client > web:36412"],
    ["to a port that is allowed for TCP", [ports("{ port: 36412 }")], "sctp client > web:36412"],
    ["to a closed pod", [CLOSED], "sctp client > web:36412"],
    ["under a rule without ports", [from(`{ ${CLIENT} }`)], "sctp client > web:36412"],
  ]),
  ...rows("ICMP", [
    ["an echo request to a closed pod", [CLOSED], "icmp client > web 8"],
    ["an echo request from a closed pod", [CLOSED_EGRESS], "icmp client > other/guest 8"],
    ["an echo request under a rule without ports", [from(`{ ${CLIENT} }`)], "icmp client > web 8"],
    ["an echo request under a rule for TCP", [ports("{ port: 80 }")], "icmp client > web 8"],
    ["a timestamp request to a closed pod", [CLOSED], "icmp client > web 13"],
  ]),
  ...rows("other protocols", [
    ["GRE to a closed pod", [CLOSED], "47 client > web"],
    ["GRE under a rule without ports", [from(`{ ${CLIENT} }`)], "47 client > web"],
    ["IP-in-IP from a pod that no policy selects", [], "4 client > other/guest"],
    ["VXLAN from a pod that no policy selects", [], "udp client > other/guest:4789"],
    ["multicast from a closed pod", [CLOSED_EGRESS], "udp client > 224.0.0.251:5353"],
  ]),
  ...rows("host traffic", [
    ["to a closed pod from its own node", [CLOSED], "tcp node:node-a > web:80"],
    ["to a closed pod from another node", [CLOSED], "tcp node:node-b > web:80"],
    ["from a closed pod to its own node", [CLOSED_EGRESS], "tcp client > node:node-b:10250"],
    ["from a closed pod to a node port of its own node", [CLOSED_EGRESS], "tcp client > node:node-b:30080"],
    ["from a closed pod to another node", [CLOSED_EGRESS], "tcp client > node:node-a:10250"],
  ]),
  ...rows("pod to itself", [
    ["a pod closed in both directions", ["{ podSelector: {}, policyTypes: [Ingress, Egress] }"], "tcp web > web:80"],
  ]),
  ...rows("IPv6", [
    ["to a pod that a policy closes", [CLOSED], "tcp fd00:10:2::25 > web:80"],
    ["from a pod that the selector selects", [from(`{ ${CLIENT} }`)], "tcp fd00:10:2::25 > web:80"],
    ["from an outside address in the block", [from(block("2001:db8::/32"))], "tcp 2001:db8::9 > web:80"],
    ["from an address outside 2000::/3 and fd00::/8, ::/0", [from(block("::/0"))], "tcp 64:ff9b::9 > web:80"],
    ["an echo request to a closed pod", [CLOSED], "icmpv6 client > web 128"],
  ]),
  {
    feature: "live connections",
    asked: "the answer of a closed pod to a connection it was allowed to open",
    policies: ["{ podSelector: { matchLabels: { app: client } }, policyTypes: [Ingress] }"],
    packet: "tcp web:80 > client:40000 SA",
    before: {
      policies: [
        "{ podSelector: { matchLabels: { app: client } }, policyTypes: [Ingress] }",
        `{ ${INGRESS}, ingress: [{}] }`,
      ],
      packets: ["tcp client:40000 > web:80 S"],
    },
  },
  {
    feature: "live connections",
    asked: "the next packet of a connection after a policy has closed its destination",
    policies: [CLOSED],
    packet: "udp client:40000 > web:53",
    before: {
      policies: [`{ ${INGRESS}, ingress: [{}] }`],
      packets: ["udp client:40000 > web:53", "udp web:53 > client:40000"],
    },
  },
  {
    feature: "live connections",
    asked: "the answer in a connection after a policy has closed its source",
    policies: [CLOSED_EGRESS, `{ ${INGRESS}, ingress: [{}] }`],
    packet: "udp web:53 > client:40000",
    before: {
      policies: [`{ ${INGRESS}, ingress: [{}] }`, "{ podSelector: { matchLabels: { app: client } }, ingress: [{}] }"],
      packets: ["udp client:40000 > web:53", "udp web:53 > client:40000"],
    },
  },
];
