import { describe, expect, test } from "vitest";
import { evaluate } from "../../reference/evaluate.ts";
import { isWhole } from "../extent.ts";
import { hasShared } from "../shared.ts";
import type { ConformanceCase } from "./cases.ts";
import { cyclonusCases } from "./cyclonus.ts";
import { illuminatioCases } from "./illuminatio.ts";
import { kubeNetworkPoliciesCases } from "./kubeNetworkPolicies.ts";
import { recipeCases } from "./recipes.ts";

/** How many probes the reference answers as the table does; the first few it does not are shown. */
function agreeing(cases: readonly ConformanceCase[]): number {
  let count = 0;
  const wrong: unknown[] = [];
  for (const { name, model, probes } of cases) {
    for (const { packet, verdict, directions } of probes) {
      const answer = evaluate(model, packet);
      const same =
        answer.verdict === verdict &&
        (directions === undefined ||
          (answer.directions.egress === directions.egress && answer.directions.ingress === directions.ingress));
      if (same) count++;
      else if (wrong.length < 5) wrong.push({ name, packet, verdict, directions, answer });
    }
  }
  expect(wrong).toEqual([]);
  return count;
}

describe.runIf(hasShared)("the reference agrees with independent truth tables", () => {
  test("all 123,669 verdicts of cyclonus: 109,956 pairs, per direction too, and 13,713 cells of a pod to itself", () => {
    const cases = cyclonusCases();
    const pairs = isWhole ? 109_956 : cases.reduce((sum, { probes }) => sum + probes.length, 0);
    expect(pairs).toBeGreaterThan(5_000);
    expect(agreeing(cases)).toBe(pairs);
    const itself = cases.flatMap(({ model, itself }) => itself.map((packet) => evaluate(model, packet).verdict));
    if (isWhole) expect(itself).toHaveLength(123_669 - 109_956);
    expect(new Set(itself)).toEqual(new Set(["accept"]));
  });

  test("all 10 cases of kube-network-policies", () => {
    expect(agreeing(kubeNetworkPoliciesCases())).toBe(10);
  });

  test("all 29 determinate probes of the policy recipes", () => {
    expect(agreeing(recipeCases())).toBe(29);
  });

  test("all 6 expectations of illuminatio, four packets each", () => {
    expect(agreeing(illuminatioCases())).toBe(24);
  });
});
