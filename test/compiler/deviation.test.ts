import { expect, test } from "vitest";
import { deviationsOf, type Quirk } from "../../compiler/deviation.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { cluster, EVERYTHING, pod, policy, rule, syn } from "../../verify/fuzz/builders.ts";

const model = cluster({
  endpoints: [pod("default/a", ["10.1.0.2"]), pod("default/b", ["10.1.0.3"])],
  policies: [policy("default/two-ways-in", EVERYTHING, { ingress: [rule(), rule()] })],
});

const packet = syn("10.1.0.2", "10.1.0.3", 80);

/** A quirk that does not see the rule of this index. */
function blindTo(index: number, name: string): Quirk {
  return {
    name,
    summary: "",
    source: "",
    scenario: "",
    apply: (reading) => ({
      ...reading,
      rules: (context) => reading.rules(context).filter((one) => one.index !== index),
    }),
  };
}

function speaking(quirks: readonly Quirk[]): readonly string[] {
  return deviationsOf(quirks, "drop")
    .filter((deviation) => deviation.verdict(resolvePolicies(model), packet) === "drop")
    .map(({ name }) => name);
}

test("a quirk without which the verdict would be right has a say", () => {
  expect(speaking([blindTo(0, "first"), blindTo(1, "second")])).toEqual(["first", "second"]);
  expect(speaking([blindTo(0, "first")])).toEqual([]);
});

test("where two pairs of quirks each suffice, and no single one, the first speaks for them", () => {
  const pairs = [blindTo(0, "first"), blindTo(1, "second"), blindTo(0, "first again"), blindTo(1, "second again")];
  expect(speaking(pairs)).toEqual(["first"]);
});
