/**
 * A story of what neither the recordings nor the crowded story has: a node that comes and one that goes, a pod that is
 * there before its address is, pods that complete and fail, an address taken at once by a pod of another node, blocks whose
 * excepts are edited, families that are first mentioned on the way, policies that change their types and their subjects or
 * come back under their name as others, rules in other order, a range of ports that moves, a namespace that comes with all it
 * has while another loses its label, expressions in place of labels.
 */
import type { ClusterModel } from "../../compiler/model.ts";
import { app, type Manifest, modelOf, namespace, node, policy } from "./crowdedStory.ts";

interface PodShape {
  readonly at: string;
  readonly label: string;
  readonly addresses?: readonly string[];
  readonly http?: number;
  readonly phase?: string;
  readonly uid?: string;
  readonly onHost?: true;
}

function pod(key: string, { at, label, addresses = [], http, phase = "Running", uid, onHost }: PodShape): Manifest {
  const [inNamespace, name] = key.split("/");
  const ports = http === undefined ? [] : [{ name: "http", containerPort: http, protocol: "TCP" }];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: inNamespace, name, labels: { app: label }, uid: uid ?? `uid-${key}` },
    spec: { nodeName: at, hostNetwork: onHost === true, containers: [{ name: "c", image: "i", ports }] },
    status: {
      phase: addresses.length === 0 ? "Pending" : phase,
      ...(addresses.length > 0 && { podIP: addresses[0], podIPs: addresses.map((ip) => ({ ip })) }),
    },
  };
}

const [A, B, C] = ["node-a", "node-b", "node-c"];
const NODES = [node("node-a", 1), node("node-b", 2)];
const THREE = [...NODES, node("node-c", 3)];

const block = (cidr: string, ...except: readonly string[]) => ({
  ipBlock: { cidr, ...(except.length > 0 && { except }) },
});
const shopRules = (...ingress: readonly Manifest[]): Manifest =>
  policy("shop/api", { podSelector: app("api"), policyTypes: ["Ingress"], ingress });
const fromBlocks = (...from: readonly Manifest[]): Manifest => ({ from, ports: [{ port: "http", protocol: "TCP" }] });
const fromTeam: Manifest = {
  from: [{ namespaceSelector: { matchExpressions: [{ key: "team", operator: "Exists" }] }, podSelector: app("front") }],
  ports: [{ port: 8080, endPort: 8083, protocol: "TCP" }],
};
const all = (types: readonly string[], rest: Manifest = {}): Manifest =>
  policy("shop/all", { podSelector: {}, policyTypes: types, ...rest });
const toFront: Manifest = {
  egress: [{ to: [{ podSelector: app("front") }], ports: [{ port: "http", protocol: "TCP" }] }],
};

/** The states, in order. */
export function changedHandsStory(): readonly ClusterModel[] {
  const [shop, dev] = [namespace("shop", "shop"), namespace("dev", "dev")];
  const unlabelled = { ...dev, metadata: { name: "dev", labels: {} } };
  const api = pod("shop/api-0", { at: A, label: "api", addresses: ["10.0.1.10"], http: 8080 });
  const front = (shape: Partial<PodShape>) =>
    pod("dev/front-0", { at: B, label: "front", addresses: ["10.0.2.10"], http: 80, ...shape });
  const late = (shape: Partial<PodShape>) => pod("shop/late", { at: A, label: "api", http: 8081, ...shape });
  const monitor = pod("shop/monitor", { at: A, label: "front", addresses: ["192.168.0.1"], onHost: true });
  const wide = fromBlocks(block("10.0.0.0/16", "10.0.2.0/24"));
  const narrow = fromBlocks(block("10.0.0.0/16", "10.0.2.0/25", "10.0.3.0/24"), block("10.0.2.10/32"));
  const six = fromBlocks(block("fd00::/16", "fd00:2::/64"), block("10.0.0.0/16"));
  const sixth = (at: string, host: string) => pod("shop/six", { at, label: "api", addresses: [host], http: 8082 });
  const moved = {
    ...fromTeam,
    ports: [
      { port: 8081, endPort: 8090, protocol: "TCP" },
      { port: 53, protocol: "UDP" },
    ],
  };
  return [
    [...NODES, shop, dev, api, front({}), shopRules(wide), all(["Ingress"])],
    // A pod without an address yet, a pod on the host's network, a node without pods.
    [...THREE, shop, dev, api, front({}), late({}), monitor, shopRules(narrow), all(["Ingress"])],
    // It gets one; the front pod completes, and its address goes at once to a pod of the other node.
    [
      ...[...THREE, shop, dev, api, front({ phase: "Succeeded" }), late({ addresses: ["10.0.1.11"] }), monitor],
      ...[
        pod("dev/front-1", { at: A, label: "front", addresses: ["10.0.2.10"] }),
        shopRules(fromTeam, narrow),
        all(["Ingress", "Egress"]),
      ],
    ],
    // A family comes with a pod and a block; the order of rules is another, the types are the other.
    [
      ...[...THREE, shop, dev, api, late({ addresses: ["10.0.1.11"], http: 8090 }), monitor, sixth(A, "fd00:1::5")],
      ...[
        pod("dev/front-1", { at: C, label: "front", addresses: ["10.0.2.10"] }),
        shopRules(six, fromTeam),
        all(["Egress"], toFront),
      ],
    ],
    // The namespace's label goes, so nobody is in a team any more; a pod and a policy of the name are others, of other subjects.
    [
      ...[...THREE, shop, unlabelled, api, late({ addresses: ["10.0.1.11"], uid: "another" }), sixth(B, "fd00:2::5")],
      ...[pod("dev/front-1", { at: C, label: "front", addresses: ["10.0.2.10"] }), all(["Egress", "Ingress"], toFront)],
      policy("shop/api", {
        podSelector: app("front"),
        policyTypes: ["Egress"],
        egress: [{ to: [block("0.0.0.0/0", "10.0.1.0/24")] }],
      }),
    ],
    // A node goes with what was on it, its pod's address comes back elsewhere; a namespace comes with all it has.
    [
      ...[...NODES, shop, dev, namespace("ops", "ops"), api, late({ addresses: ["10.0.1.11"], phase: "Failed" })],
      ...[pod("ops/front", { at: A, label: "front", addresses: ["10.0.2.10"], http: 8080 }), sixth(A, "fd00:2::5")],
      ...[shopRules(moved, six), policy("ops/none", { podSelector: {}, policyTypes: ["Ingress", "Egress"] })],
    ],
    // All policies go but one that selects nobody.
    [
      ...NODES,
      shop,
      dev,
      api,
      front({ at: A }),
      sixth(A, "fd00:1::5"),
      policy("dev/nobody", { podSelector: app("none"), ingress: [{}] }),
    ],
  ].map(modelOf);
}
