import fc from "fast-check";
import { expect, test } from "vitest";
import { API_READING, readingVerdict } from "../../compiler/policyReading.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { allPackets } from "../../verify/fuzz/packet.ts";
import { runsOf } from "../extent.ts";

test("the reading that deviations start from is the reference's, on every packet of a random cluster", () => {
  fc.assert(
    fc.property(clusterArbitrary(), (model) => {
      const cluster = resolvePolicies(model);
      const different = allPackets(model).filter(
        (packet) => readingVerdict(API_READING, cluster, packet, "drop") !== evaluate(model, packet).verdict,
      );
      expect(different).toEqual([]);
    }),
    { numRuns: runsOf(100) },
  );
});
