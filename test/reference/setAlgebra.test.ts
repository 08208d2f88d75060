import { describe, expect, it } from "vitest";
import type { ClusterModel } from "../../compiler/model.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { edgePackets } from "../../verify/fuzz/edges.ts";
import { mutateCluster } from "../../verify/fuzz/mutate.ts";
import { partsFrom } from "../../verify/fuzz/parts.ts";
import { Random } from "../../verify/kernel/random.ts";
import { isWhole, sampled } from "../extent.ts";
import { MISREADINGS } from "../mutants/misreadings.ts";
import { allowedIn, NumberSet, passes } from "./setAlgebra.ts";

const CLUSTERS = isWhole ? 1500 : 150;

/** Clusters of the tiny world and what becomes of them after some changes. */
function* clusters(count: number, random: Random): Generator<ClusterModel> {
  const source = { random, parts: partsFrom(random) };
  let model = source.parts.cluster();
  for (let drawn = 0; drawn < count; drawn++) {
    yield model;
    model = drawn % 5 === 4 ? source.parts.cluster() : mutateCluster(model, undefined, source);
  }
}

/** Packets on which the reference, reading `told`, and the algebra, reading the cluster, differ. */
function differences(count: number, seed: number, told: (model: ClusterModel) => ClusterModel) {
  const random = new Random(seed);
  const found: object[] = [];
  let accepted = 0;
  let refused = 0;
  for (const model of clusters(count, random)) {
    const allowed = allowedIn(model);
    const read = told(model);
    for (const packet of edgePackets(model, random, 30)) {
      const { verdict, because } = evaluate(read, packet);
      if ((verdict === "accept") !== passes(allowed, packet)) found.push({ packet, verdict, because, model });
      if (verdict === "accept") accepted++;
      else refused++;
    }
  }
  return { found, accepted, refused };
}

describe("the reference and the algebra of sets", () => {
  it("agree about packets at the edges of every policy", () => {
    const { found, accepted, refused } = differences(CLUSTERS, 11, (model) => model);
    expect(found.slice(0, 1)).toEqual([]);
    expect(Math.min(accepted, refused)).toBeGreaterThan(CLUSTERS * 5);
  });

  it.each(sampled(MISREADINGS, 4))("would disagree if one of them thought: $name", ({ misread }) => {
    const random = new Random(12);
    for (const model of clusters(1500, random)) {
      const allowed = allowedIn(model);
      const read = misread(model);
      const told = edgePackets(model, random, 20).some(
        (packet) => (evaluate(read, packet).verdict === "accept") !== passes(allowed, packet),
      );
      if (told) return;
    }
    throw new Error("nobody noticed");
  });
});

describe("sets of numbers", () => {
  it("are what a list of booleans says", () => {
    const random = new Random(13);
    for (let round = 0; round < 40; round++) {
      const bits = [0, 1].map(() => Array.from({ length: 24 }, () => random.oneIn(2)));
      const sets = bits.map((list) =>
        NumberSet.union(list.map((isIn, at) => (isIn ? NumberSet.range(BigInt(at), BigInt(at)) : NumberSet.none))),
      );
      const [a = NumberSet.none, b = NumberSet.none] = sets;
      for (let at = 0; at < 24; at++) {
        const [inA, inB] = bits.map((list) => list[at] === true);
        expect(NumberSet.union([a, b]).has(BigInt(at))).toBe(inA || inB);
        expect(a.intersect(b).has(BigInt(at))).toBe(inA && inB);
        expect(a.minus(b).has(BigInt(at))).toBe(inA && !inB);
      }
      const gaps = a.ranges.slice(1).map(([first], index) => first - (a.ranges[index]?.[1] ?? 0n));
      expect(gaps.every((gap) => gap > 1n)).toBe(true);
    }
  });
});
