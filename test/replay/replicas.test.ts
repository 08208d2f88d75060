/** Names that stand for all pods of an owner become those pods. */
import { describe, expect, it } from "vitest";
import { loadObjects } from "../../compiler/compile.ts";
import { parseManifests } from "../../compiler/manifest/objects.ts";
import { formatAddress } from "../../dataplane/address.ts";
import { withReplicas } from "../../replay/replicas.ts";
import { isProblem } from "../../traffic/transcript.ts";
import { resolverOf } from "../../verify/who.ts";

const PODS = {
  "web-7d4b9c6f5-x2x1z": "10.0.0.1",
  "web-7d4b9c6f5-k8k2c": "10.0.0.2",
  "web-7d4b9c6f5-qq7rt": "10.0.0.3",
  "web-proxy-5f6d8c9b4-aaaaa": "10.0.0.4",
  "db-0": "10.0.0.5",
  "db-backup-0": "10.0.0.6",
};

function resolver() {
  const text = Object.entries(PODS).map(([name, ip]) =>
    JSON.stringify({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "shop" },
      spec: { nodeName: "node-a", containers: [{ name: "c", image: "i" }] },
      status: { podIP: ip, phase: "Running" },
    }),
  );
  const { model } = loadObjects(parseManifests([{ name: "pods.yaml", text: text.join("\n---\n") }]));
  if (model === undefined) throw new Error("no model");
  return withReplicas(resolverOf(model, "shop"), model);
}

function taken(name: string, uses = 60): readonly string[] {
  const resolve = resolver();
  const found = Array.from({ length: uses }, () => resolve(name, 4));
  return [...new Set(found.map((each) => (isProblem(each) ? each.problem : formatAddress(each))))].toSorted();
}

describe("a name that ends in *", () => {
  it("is each of the pods that were made from it, and no pod of a longer name", () => {
    expect(taken("shop/web-7d4b9c6f5-*")).toEqual(["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    expect(taken("shop/db-*")).toEqual(["10.0.0.5"]);
  });

  it("is the workload's pods where the revision is another", () => {
    expect(taken("shop/web-6c9f8d7b5-*")).toEqual(["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    expect(taken("shop/web-*")).toEqual(["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    expect(taken("shop/gone-*")).toEqual(["no pod of shop/gone-*"]);
    expect(taken("other/web-*")).toEqual(["no pod of other/web-*"]);
  });

  it("meets every pair when two names are asked in turn, and the same ones again in another run", () => {
    const pairs = () => {
      const resolve = resolver();
      return Array.from({ length: 90 }, () =>
        ["shop/web-*", "shop/web-*"]
          .map((name) => resolve(name, 4))
          .map((each) => (isProblem(each) ? each.problem : formatAddress(each)))
          .join(" "),
      );
    };
    expect(new Set(pairs()).size).toBe(9);
    expect(pairs()).toEqual(pairs());
  });

  it("leaves other names to whoever knows them", () => {
    expect(taken("shop/db-0")).toEqual(["10.0.0.5"]);
    expect(taken("shop/nobody")[0]).toContain("unknown pod shop/nobody");
  });
});
