/**
 * A story of changes that random histories draw seldom, each a whole cluster: many pods at once, addresses that change
 * hands across nodes and on one, named ports (SCTP among them) renumbered, a policy that comes and goes at once, a namespace
 * that goes with all it has, every pod gone and others back at their addresses, namespaces that exchange labels.
 */

import { loadObjects } from "../../compiler/compile.ts";
import { parseManifests } from "../../compiler/manifest/objects.ts";
import type { ClusterModel } from "../../compiler/model.ts";

export type Manifest = Readonly<Record<string, unknown>>;
type Address = readonly [node: number, host: number];
type Port = readonly [name: string, port: number, protocol: string];

const NODES = ["node-a", "node-b", "node-c"];
/** Pods that come at once: some on each node. */
const CROWD = 6;

export const namespace = (name: string, team: string): Manifest => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels: { team } },
});

export const node = (name: string, number: number): Manifest => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name },
  spec: { podCIDR: `10.0.${number}.0/24`, podCIDRs: [`10.0.${number}.0/24`, `fd00:${number}::/64`] },
  status: { addresses: [{ type: "InternalIP", address: `192.168.0.${number}` }] },
});

function pod(key: string, [at, host]: Address, app: string, ports: readonly Port[] = []): Manifest {
  const [inNamespace, name] = key.split("/");
  const addresses = [`10.0.${at}.${host}`, `fd00:${at}::${host}`];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: inNamespace, name, labels: { app } },
    spec: {
      nodeName: NODES[at - 1],
      containers: [
        {
          name: "c",
          image: "i",
          ports: ports.map(([portName, containerPort, protocol]) => ({ name: portName, containerPort, protocol })),
        },
      ],
    },
    status: { phase: "Running", podIP: addresses[0], podIPs: addresses.map((ip) => ({ ip })) },
  };
}

const onHost: Manifest = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "a", name: "host", labels: { app: "web" } },
  spec: { nodeName: "node-a", hostNetwork: true, containers: [{ name: "c", image: "i" }] },
  status: { phase: "Running", podIP: "192.168.0.1", podIPs: [{ ip: "192.168.0.1" }] },
};

export const policy = (key: string, spec: Manifest): Manifest => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { namespace: key.split("/")[0], name: key.split("/")[1] },
  spec,
});

export const app = (value: string): Manifest => ({ matchLabels: { app: value } });
const clients = {
  from: [{ namespaceSelector: { matchLabels: { team: "b" } }, podSelector: app("client") }],
  ports: [
    { port: "http", protocol: "TCP" },
    { port: "sig", protocol: "SCTP" },
  ],
};
const blocks = {
  from: [{ ipBlock: { cidr: "10.0.0.0/16", except: ["10.0.2.0/24"] } }, { ipBlock: { cidr: "fd00::/16" } }],
};
const egress = [
  {
    to: [
      {
        namespaceSelector: {},
        podSelector: { matchExpressions: [{ key: "app", operator: "In", values: ["web", "late"] }] },
      },
    ],
    ports: [
      { port: "http", protocol: "TCP" },
      { port: 8000, endPort: 8100, protocol: "TCP" },
    ],
  },
  { ports: [{ port: 53, protocol: "UDP" }] },
];
const ingressRules = (...ingress: readonly Manifest[]): Manifest =>
  policy("a/web", { podSelector: app("web"), policyTypes: ["Ingress"], ingress });
const ofB = (...policyTypes: readonly string[]): Manifest => policy("b/all", { podSelector: {}, policyTypes, egress });
const quick = policy("a/quick", { podSelector: {}, policyTypes: ["Ingress", "Egress"] });
const POLICIES = [ingressRules(clients, blocks), ofB("Egress", "Ingress")];

const web = (index: number, address: Address, http = 80): Manifest =>
  pod(`a/web-${index}`, address, "web", [
    ["http", http, "TCP"],
    ["sig", http + 1, "SCTP"],
  ]);
const client = (index: number, address: Address, label = "client"): Manifest =>
  pod(`b/client-${index}`, address, label);
const crowd = (label?: string): readonly Manifest[] =>
  Array.from({ length: CROWD }, (_, index) =>
    pod(
      `${index % 2 === 0 ? "b" : "a"}/late-${index}`,
      [(index % 3) + 1, 100 + index],
      label ?? (index % 4 === 0 ? "client" : "late"),
      [["http", 80 + (index % 3), "TCP"]],
    ),
  );

/** The states, in order. */
export function crowdedStory(): readonly ClusterModel[] {
  const nodes = NODES.map((name, index) => node(name, index + 1));
  const [a, b] = [namespace("a", "a"), namespace("b", "b")];
  const [web0, web1, client0, client1]: Address[] = [
    [1, 10],
    [1, 11],
    [2, 10],
    [2, 11],
  ];
  if (web0 === undefined || web1 === undefined || client0 === undefined || client1 === undefined) return [];
  const late = [...crowd(), onHost];
  const inA = (each: Manifest): boolean => (each.metadata as { namespace?: string }).namespace === "a";
  const few = [web(0, web0), web(1, web1), client(0, client0), client(1, client1)];
  const states: readonly (readonly Manifest[])[] = [
    [a, b, ...few, ...POLICIES],
    [a, b, ...few, ...late, ...POLICIES],
    // Across nodes, then back, with the two of one node exchanged.
    [a, b, web(0, client0), web(1, web1), client(0, web0), client(1, client1), ...late, ...POLICIES],
    [a, b, web(0, web1), web(1, web0), client(0, client0), client(1, client1), ...late, ...POLICIES],
    [a, b, web(0, web1, 8080), web(1, web0, 90), client(0, client0), client(1, client1), ...late, ...POLICIES],
    [
      a,
      b,
      web(0, web1, 8080),
      web(1, web0, 90),
      client(0, client0, "other"),
      client(1, client1),
      ...late,
      ...POLICIES,
      quick,
    ],
    [
      a,
      b,
      ...[web(0, web1, 8080), web(1, web0, 90), client(0, client0), client(1, client1, "web"), ...late],
      ...[ingressRules(blocks, clients), ofB("Egress")],
    ],
    [a, web(0, web1), web(1, web0), ...late.filter(inA), ...POLICIES.filter(inA)],
    [a, b, ...POLICIES],
    [a, b, web(1, web0), client(0, web1), ...crowd("client"), ...POLICIES],
    [namespace("a", "b"), namespace("b", "a"), ...few, ...POLICIES, quick],
  ];
  return states.map((objects, index) => modelOf([...nodes, ...objects], index));
}

export function modelOf(objects: readonly Manifest[], index: number): ClusterModel {
  const text = objects.map((each) => JSON.stringify(each)).join("\n---\n");
  const { model, issues } = loadObjects(parseManifests([{ name: `state-${index}.yaml`, text }]));
  if (model === undefined) throw new Error(issues.map(({ message }) => message).join("\n"));
  return model;
}
