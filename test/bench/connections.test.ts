/** What connection tracking costs by the number of connections: that they are all there when their packets are timed. */
import { describe, expect, it } from "vitest";
import { ATTACHMENT, BARE, openingOf, UNTRACKED } from "../../bench/kernel/experiments.ts";
import { PacedNode } from "../../bench/kernel/pacedNode.ts";
import { hasKernel } from "../kernel/kernel.ts";

describe.runIf(hasKernel("judge"))("established connections in the kernel, for a profile", () => {
  it("are as many as were opened, and none where nothing is tracked", async () => {
    const node = await PacedNode.start(ATTACHMENT, "legacy");
    try {
      const openings = Array.from({ length: 1_500 }, (_, index) => openingOf(index));
      await node.load(BARE);
      await node.establish(openings);
      expect(node.connections()).toBe(1_500);
      await node.load(UNTRACKED);
      await node.establish(openings);
      expect(node.connections()).toBe(0);
    } finally {
      await node.close();
    }
  });
});
