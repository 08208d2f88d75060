/** The probes of docs/strategies.md: they ask what they say they ask, and every difference is a declared deviation. */
import { describe, expect, it } from "vitest";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Feature } from "../../compiler/strategies/strategy.ts";
import { FEATURE_PROBES } from "../../verify/featureProbes.ts";
import { answerProbe } from "../../verify/features.ts";

const ANSWERED = FEATURE_PROBES.map((probe) => answerProbe(probe, STRATEGIES));

describe("the feature probes", () => {
  it("cover what people ask about", () => {
    const features = new Set(FEATURE_PROBES.map(({ feature }) => feature));
    for (const feature of [
      "except",
      "named ports",
      "endPort",
      "SCTP",
      "ICMP",
      "host traffic",
      "pod to itself",
      "live connections",
      "ipBlock against pod addresses",
      "IPv6",
      "other protocols",
    ]) {
      expect(features, feature).toContain(feature);
    }
  });

  it("where a strategy differs on the first packet of a connection, a deviation of it says why", () => {
    const unexplained = ANSWERED.filter(({ probe }) => probe.before === undefined).flatMap(({ probe, answers }) =>
      answers
        .filter(({ agrees, deviation }) => !agrees && deviation === undefined)
        .map((answer) => ({ probe, answer })),
    );
    expect(unexplained).toEqual([]);
  });

  it("what a strategy says it does not know shows in the probes about that", () => {
    const PROBED: Readonly<Record<Feature, string>> = {
      ipv6: "IPv6",
      egress: "isolation",
      "ip-block": "ipBlock",
      except: "except",
      "named-port": "named ports",
      "end-port": "endPort",
      sctp: "SCTP",
      "match-expressions": "pod and namespace selectors",
    };
    for (const { name, unsupported } of STRATEGIES) {
      for (const feature of unsupported) {
        const answers = ANSWERED.filter(({ probe }) => probe.feature === PROBED[feature]).map((one) => one.answers);
        const own = answers.flat().filter(({ strategy }) => strategy === name);
        expect(
          own.some(({ agrees }) => !agrees),
          `${name} ${feature}`,
        ).toBe(true);
      }
    }
  });

  it("most deviations show in some probe, so that the table tells what the solutions are like", () => {
    const declared = STRATEGIES.flatMap(({ name, deviations }) => deviations.map((one) => `${name} ${one.name}`));
    const shown = new Set(
      ANSWERED.flatMap(({ answers }) => answers.map(({ strategy, deviation }) => `${strategy} ${deviation}`)),
    );
    const visible = declared.filter((one) => shown.has(one));
    expect(visible.length / declared.length).toBeGreaterThan(0.5);
  });
});
