/**
 * The phases in which Cilium's agent carries out a change, each in a cluster made for it: what is written after what, down
 * to which entry. Sources of the order: dumps/updates/cilium/NOTES.md, "Order and windows".
 */
import { describe, expect, it } from "vitest";
import { resolvePolicies } from "../../compiler/compile.ts";
import { identitiesOf } from "../../compiler/strategies/cilium-ebpf/identities.ts";
import { identityView } from "../../compiler/strategies/cilium-ebpf/identityLabels.ts";
import { ciliumEbpf } from "../../compiler/strategies/cilium-ebpf.ts";
import { controllerOf } from "../../compiler/update/controller.ts";
import { burstsBetween } from "../../compiler/update/events.ts";
import type { MapCommand } from "../../compiler/update/operation.ts";
import { formatCidr } from "../../dataplane/address.ts";
import { decodeIpcacheIdentity, decodeIpcacheKey, decodePolicyKey } from "../../dataplane/maps/layout.ts";
import { documents, modelOf } from "../compiler/manifests.ts";

const namespace = (labels: string) => `
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { ${labels} } }
`;

/** On the node, unless elsewhere. */
const pod = (name: string, app: string, host: number, node = "node-a") => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { app: ${app} } }
spec: { nodeName: ${node} }
status: { phase: Running, podIP: 10.0.0.${host} }
`;

const policy = (name: string, app: string, ...ingress: readonly string[]) => `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: ${name}, namespace: shop }
spec: { podSelector: { matchLabels: { app: ${app} } }, policyTypes: [Ingress], ingress: [${ingress.join(", ")}] }
`;

const fromApps = (...apps: readonly string[]) =>
  `{ from: [{ podSelector: { matchExpressions: [{ key: app, operator: In, values: [${apps.join(", ")}] }] } }] }`;
const fromBlock = (cidr: string) => `{ from: [{ ipBlock: { cidr: ${cidr} } }] }`;

/** What the agent does from one cluster to the next, a line for each key, program or map; lines that repeat once. */
function phases(before: readonly string[], after: readonly string[]): readonly string[] {
  const [old, now] = [before, after].map((texts) => resolvePolicies(modelOf(documents(...texts))));
  if (old === undefined || now === undefined) throw new Error("no clusters");
  const controller = controllerOf(ciliumEbpf, old, { node: "node-a" });
  const owners = new Map<string, string>();
  const note = () => {
    if (controller.program.kind !== "maps") throw new Error("maps");
    for (const { name, origin = "" } of controller.program.maps) owners.set(name, origin.replace("pod shop/", ""));
  };
  note();
  const bursts = burstsBetween(old, now);
  const operations = bursts.flatMap((burst) => controller.react(burst));
  note();
  const names = new Map<number, string>([
    [0, "anybody"],
    [1, "host"],
  ]);
  // As the agent has numbered them.
  for (const cluster of [old, ...bursts.map((burst) => burst.after)]) {
    const { pods, cidrs } = identitiesOf(identityView(cluster));
    for (const { number, labels } of pods) {
      const own = labels.filter((label) => /^k8s:(app|io.cilium.k8s.namespace.labels.team)=/.test(label));
      names.set(number, own.map((label) => label.replace(/.*=/, "")).join("/"));
    }
    for (const { number, cidr } of cidrs) names.set(number, formatCidr(cidr));
  }
  const line = (command: MapCommand): string => {
    const owner = (map: string) => owners.get(map) ?? map;
    switch (command.verb) {
      case "create":
        return `${owner(command.map.name)}: a map`;
      case "remove":
        return `${owner(command.map)}: its map goes`;
      case "attach":
        return `${command.point.endpoint.replace("shop/", "")}: its program`;
      case "detach":
        return `${command.endpoint.replace("shop/", "")}: its program goes`;
      case "update":
      case "delete": {
        const [key, verb] = command.verb === "update" ? [command.entry.key, "+"] : [command.key, "-"];
        if (owners.get(command.map) !== "") {
          return `${owner(command.map)}: ${verb} ${names.get(decodePolicyKey(key).identity)}`;
        }
        const address = formatCidr(decodeIpcacheKey(key)).replace("/32", "");
        if (command.verb === "delete") return `address ${address} goes`;
        return `address ${address} is ${names.get(decodeIpcacheIdentity(command.entry.value))}`;
      }
    }
  };
  const lines = operations.flatMap(({ parts }) =>
    parts.flatMap((part) => (part.kind === "map" ? [line(part.command)] : [])),
  );
  return lines.filter((each, index) => each !== lines[index - 1]);
}

const SHOP = namespace("team: a");
const WEB = pod("web", "web", 10);
const LETS_IN = policy("p", "web", fromApps("client", "late"));

describe("phases of Cilium's agent", () => {
  it("a pod with new labels: entries for its identity, its own map, its program, its address", () => {
    expect(phases([SHOP, WEB, LETS_IN], [SHOP, WEB, pod("late", "late", 11), LETS_IN])).toEqual([
      "web: + late/a",
      "late: a map",
      "late: + anybody",
      "late: + host",
      "late: + anybody",
      "late: its program",
      "address 10.0.0.11 is late/a",
    ]);
  });

  it("a pod that goes: its address, its program, its map, and its identity once the step is over", () => {
    const before = [SHOP, WEB, pod("client", "client", 11), LETS_IN];
    expect(phases(before, [SHOP, WEB, LETS_IN])).toEqual([
      "address 10.0.0.11 goes",
      "client: its program goes",
      "client: its map goes",
      "web: - client/a",
    ]);
  });

  it("a pod with other labels: the new identity everywhere, its own map, its address, the old identity last", () => {
    const rest = [SHOP, WEB, LETS_IN, policy("deny", "late")];
    expect(phases([...rest, pod("x", "client", 11)], [...rest, pod("x", "late", 11)])).toEqual([
      "web: + late/a",
      "x: - anybody",
      "address 10.0.0.11 is late/a",
      "web: - client/a",
    ]);
  });

  it("a pod at another address: gone as a whole before it comes as a whole; identities are released behind both", () => {
    const before = [SHOP, WEB, pod("client", "client", 11), pod("late", "late", 13, "node-b"), LETS_IN];
    expect(phases(before, [SHOP, WEB, pod("client", "client", 12), LETS_IN])).toEqual([
      "address 10.0.0.13 goes",
      "address 10.0.0.11 goes",
      "client: its program goes",
      "client: its map goes",
      "client: a map",
      "client: + anybody",
      "client: + host",
      "client: + anybody",
      "client: its program",
      "address 10.0.0.12 is client/a",
      "web: - late/a",
    ]);
  });

  it("a policy with other rules: what it allows anew before what it allows no more", () => {
    const pods = [SHOP, WEB, pod("client", "client", 11, "node-b"), pod("late", "late", 12, "node-b")];
    const rules = (app: string) => [...pods, policy("p", "web", fromApps(app))];
    expect(phases(rules("client"), rules("late"))).toEqual(["web: + late/a", "web: - client/a"]);
  });

  it("a first policy: what it allows before everybody is shut out", () => {
    const pods = [SHOP, WEB, pod("client", "client", 11, "node-b")];
    const after = [...pods, policy("p", "web", fromApps("client"))];
    expect(phases(pods, after)).toEqual(["web: + client/a", "web: - anybody"]);
    expect(phases(after, pods)).toEqual(["web: + anybody", "web: - client/a"]);
  });

  const pods = [SHOP, WEB, pod("db", "db", 11), policy("wide", "db", fromBlock("10.8.0.0/16"))];
  const withPrefix = [...pods, policy("p", "web", fromBlock("10.8.1.0/24"))];

  it("a new prefix: entries where a wider block allows it, its address, the endpoints of the policy", () => {
    expect(phases(pods, withPrefix)).toEqual([
      "db: + 10.8.1.0/24",
      "address 10.8.1.0/24 is 10.8.1.0/24",
      "web: + 10.8.1.0/24",
      "web: - anybody",
    ]);
  });

  it("a prefix that nobody names any more: the endpoints of the policy, its address, entries elsewhere", () => {
    expect(phases(withPrefix, pods)).toEqual([
      "web: + anybody",
      "web: - 10.8.1.0/24",
      "address 10.8.1.0/24 goes",
      "db: - 10.8.1.0/24",
    ]);
  });

  it("a namespace with other labels: new identities everywhere, the addresses pod by pod, the old identities last", () => {
    const rest = [WEB, pod("x", "client", 11), LETS_IN];
    expect(phases([SHOP, ...rest], [namespace("team: b"), ...rest])).toEqual([
      "web: + client/b",
      "address 10.0.0.10 is web/b",
      "address 10.0.0.11 is client/b",
      "web: - client/a",
    ]);
  });
});
