import fc from "fast-check";
import { expect, test } from "vitest";
import { loadCluster } from "../../compiler/compile.ts";
import { manifestsOf, manifestText } from "../../compiler/manifest/write.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { allPackets, concerns, packetArbitrary } from "../../verify/fuzz/packet.ts";
import { isWhole, runsOf } from "../extent.ts";

/** Without the places in the input, which differ. */
function placeless(model: ClusterModel): unknown {
  return JSON.parse(
    JSON.stringify(model, (key, value) => (key === "source" ? undefined : value instanceof Map ? [...value] : value)),
  );
}

test("a random cluster survives the way through its manifests without an error, and is the same after it", () => {
  fc.assert(
    fc.property(clusterArbitrary(), (model) => {
      const { model: loaded, issues } = loadCluster([{ name: "random.json", text: manifestText(manifestsOf(model)) }]);
      expect(issues.filter((issue) => issue.severity === "error")).toEqual([]);
      expect(loaded && placeless(loaded)).toEqual(placeless(model));
    }),
    { numRuns: runsOf(200) },
  );
});

test("a seed gives one cluster and one packet", () => {
  for (const arbitrary of [clusterArbitrary(), packetArbitrary]) {
    const drawn = () => fc.sample<unknown>(arbitrary, { seed: 7, numRuns: runsOf(20) });
    expect(drawn()).toEqual(drawn());
  }
});

test("all packets of a cluster are different, concern it, and are enough to tell its policies apart", () => {
  fc.assert(
    fc.property(clusterArbitrary(), (model) => {
      const packets = allPackets(model);
      expect(packets.filter((packet) => !concerns(model, packet))).toEqual([]);
      expect(new Set(packets.map((packet) => JSON.stringify(packet))).size).toBe(packets.length);
    }),
    { numRuns: 10 },
  );
});

test("random packets meet every way in which the reference decides, and often", () => {
  const drawn = isWhole ? 200 : 40;
  const models = fc.sample(clusterArbitrary(), { seed: 1, numRuns: drawn });
  const packets = fc.sample(packetArbitrary, { seed: 2, numRuns: drawn });
  const reasons = models.flatMap((model) =>
    packets.filter((packet) => concerns(model, packet)).flatMap((packet) => evaluate(model, packet).because),
  );
  const share = (pattern: RegExp) => reasons.filter((reason) => pattern.test(reason)).length / reasons.length;
  expect(share(/isolated for/)).toBeGreaterThan(0.05);
  expect(share(/: allowed by/)).toBeGreaterThan(0.02);
  expect(share(/not isolated/)).toBeGreaterThan(0.2);
  expect(share(/\(row 33\)/)).toBeGreaterThan(0.01);
  expect(share(/\(row 34\)/)).toBeGreaterThan(0.01);
  expect(share(/\(row 38\)/)).toBeGreaterThan(0.05);
  expect(share(/(from|to)\[\d\] ports\[\d\]/)).toBeGreaterThan(0.001);
});
