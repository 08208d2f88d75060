import { expect, test } from "vitest";
import { deviationsOf, type Quirk } from "../../compiler/deviation.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { resolveAgain } from "../../compiler/resolveAgain.ts";
import { weaveNet } from "../../compiler/strategies/weave-net.ts";
import {
  cluster,
  EVERYTHING,
  namespace,
  node,
  pod,
  podPeer,
  policy,
  rule,
  selector,
  syn,
} from "../../verify/fuzz/builders.ts";
import { deviantVerdict } from "../../verify/meant.ts";

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

test("weave-net's speak of the state asked about, whichever of its story was lowered last", () => {
  // Both policies need one set name: the second fails half way, unless it is alone (scenarios/weave-net-set-name-taken).
  const parts = {
    nodes: [node("node-a", ["192.168.0.11"])],
    namespaces: [namespace("shop", { team: "shop" })],
    endpoints: [
      pod("shop/web", ["10.1.0.2"], { labels: { app: "web" } }),
      pod("shop/api", ["10.1.0.3"], { labels: { app: "api" } }),
    ],
  };
  const namespaces = selector({ team: "shop" });
  const ingress = (peer: Parameters<typeof podPeer>[0]) => ({ ingress: [rule([podPeer(peer)])] });
  const first = policy("shop/first", selector({ app: "web" }), ingress({ namespaces }));
  const second = policy("shop/second", selector({ app: "api" }), ingress({ namespaces, pods: EVERYTHING }));
  const both = resolvePolicies(cluster({ ...parts, policies: [first, second] }));
  const alone = resolveAgain(both, cluster({ ...parts, policies: [second] }));
  const said = (state: typeof both) => deviantVerdict(weaveNet, state, syn("10.1.0.2", "10.1.0.3", 80));
  for (const lowered of [both, alone, both]) {
    weaveNet.lower(lowered, { node: "node-a" });
    expect([said(both), said(alone)]).toEqual(["drop", undefined]);
  }
});
