/** A cluster that a solution has no room for is the user's to know: exit 2 and one line, no report of a bug. */
import { describe, expect, it } from "vitest";
import { manyBlocks } from "../compiler/manyBlocks.ts";
import { chainwalk } from "./commandLine.ts";

describe("an endpoint's policy map in cilium-ebpf", () => {
  const command = "compile -f big.yaml -s cilium-ebpf --node node-a -o summary";

  it("is noted when nearly full", async () => {
    const { code, out, err } = await chainwalk(command, { files: { "big.yaml": manyBlocks(520) } });
    expect(code).toBe(0);
    expect(out).toContain("cilium-ebpf");
    expect(err).toContain(
      "note: cilium-ebpf on node-a is nearly full: cilium_policy_v2_00001 (pod shop/web): 15,602 entries",
    );
  });

  it.each(["compile --node node-a", "trace --from 172.16.0.1 --to shop/web --port 80"])(
    "ends %s when it overflows",
    async (verb) => {
      const files = { "big.yaml": manyBlocks(547) };
      const { code, out, err } = await chainwalk(`${verb} -f big.yaml -s cilium-ebpf`, { files });
      expect([code, out]).toEqual([2, ""]);
      expect(err).toContain(
        "error: cilium-ebpf cannot hold this cluster on node-a: cilium_policy_v2_00001 (pod shop/web)",
      );
    },
  );
});
