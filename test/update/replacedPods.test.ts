/** What the API server lets change of a pod is one event; what it refuses makes another pod of the name. */
import { describe, expect, it } from "vitest";
import { resolvePolicies } from "../../compiler/compile.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { controllerOf } from "../../compiler/update/controller.ts";
import { burstsBetween, eventText } from "../../compiler/update/events.ts";
import { modelOf } from "../compiler/manifests.ts";

interface Spec {
  readonly labels?: string;
  readonly spec?: string;
  readonly status?: string;
}

const cluster = ({ labels = "app: web", spec = "nodeName: node-a", status = "podIP: 10.0.0.10" }: Spec) =>
  resolvePolicies(
    modelOf(`
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { ${labels} } }
spec: { ${spec} }
status: { phase: Running, ${status} }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: p, namespace: shop }
spec: { podSelector: {}, policyTypes: [Ingress] }
---
apiVersion: v1
kind: Node
metadata: { name: node-a }
---
apiVersion: v1
kind: Node
metadata: { name: node-b }
`),
  );

const events = (before: Spec, after: Spec) =>
  burstsBetween(cluster(before), cluster(after)).map((burst) => burst.events.map(eventText).join("; "));

const REPLACED = ["DELETED Pod shop/web", "ADDED Pod shop/web"];

describe("a pod between two states", () => {
  it.each([
    ["an address", { status: "podIP: 10.0.0.11" }],
    ["a node", { spec: "nodeName: node-b" }],
    ["the host's network", { spec: "nodeName: node-a, hostNetwork: true" }],
    ["an account", { spec: "nodeName: node-a, serviceAccountName: other" }],
    ["a port", { spec: "nodeName: node-a, containers: [{ name: c, image: i, ports: [{ containerPort: 80 }] }]" }],
  ])("with %s that it had not is another pod", (_, other) => {
    expect([events({}, other), events(other, {})]).toEqual([REPLACED, REPLACED]);
  });

  it.each([
    ["labels", { labels: "app: db" }, {}],
    ["a node, which it had none of", { spec: "hostNetwork: false", status: "podIPs: []" }, {}],
  ])("with other %s is the same pod", (_, before, after) => {
    expect(events(before, after)).toEqual(["MODIFIED Pod shop/web"]);
  });

  it("that leaves the host's network has the rules of a new pod", () => {
    const [before, after] = [cluster({ spec: "nodeName: node-a, hostNetwork: true" }), cluster({})];
    for (const strategy of STRATEGIES) {
      const controller = controllerOf(strategy, before, { node: "node-a" });
      const bursts = burstsBetween(before, after).map((burst) => controller.react(burst).length);
      const held = [strategy.name, bursts.length, controller.program.attachment.pods.map(({ endpoint }) => endpoint)];
      expect(held).toEqual([strategy.name, 2, ["shop/web"]]);
    }
  });
});
