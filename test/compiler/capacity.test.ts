/** Clusters that need more room in a set or map than the solution has, and those that nearly do. */
import { describe, expect, it } from "vitest";
import { BeyondCapacity, describeFilled, filledBeyond } from "../../compiler/capacity.ts";
import { compileNode, loadCluster, resolvePolicies } from "../../compiler/compile.ts";
import { ciliumEbpf } from "../../compiler/strategies/cilium-ebpf.ts";
import { manyBlocks } from "./manyBlocks.ts";

function compileBlocks(count: number) {
  const { model } = loadCluster([{ name: "blocks.yaml", text: manyBlocks(count) }]);
  if (model === undefined) throw new Error("the cluster does not load");
  return compileNode(resolvePolicies(model), ciliumEbpf, { node: "node-a" });
}

describe("the 16,384 entries of an endpoint's policy map in Cilium", () => {
  it("hold what fits, and say when little is left", () => {
    expect(filledBeyond(compileBlocks(400), 0.9)).toEqual([]);
    const [filled, ...others] = filledBeyond(compileBlocks(546), 0.9);
    expect(others).toEqual([]);
    expect(filled && describeFilled(filled)).toBe(
      "cilium_policy_v2_00001 (pod shop/web): 16,382 entries, room for 16,384",
    );
  });

  it("are not exceeded in silence, nor taken for a defect", () => {
    expect(() => compileBlocks(547)).toThrow(BeyondCapacity);
    expect(() => compileBlocks(547)).toThrow(
      "cilium-ebpf cannot hold this cluster on node-a: cilium_policy_v2_00001 (pod shop/web): 16,412 entries, room for 16,384",
    );
  });
});
