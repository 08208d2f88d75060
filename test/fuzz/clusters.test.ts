import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadCluster } from "../../compiler/compile.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { Packet } from "../../dataplane/packet.ts";
import { isProblem, parsePacketLine } from "../../traffic/transcript.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { ClusterTarget, contestsOf } from "../../verify/fuzz/clusterTarget.ts";
import { type Contest, FreshCourt, type Outsider, Trial } from "../../verify/fuzz/contest.ts";
import { Coverage } from "../../verify/fuzz/coverage.ts";
import { edgePackets } from "../../verify/fuzz/edges.ts";
import { type Finding, findingFiles } from "../../verify/fuzz/finding.ts";
import { LabelTarget } from "../../verify/fuzz/labelTarget.ts";
import { fromText, minimize } from "../../verify/fuzz/minimize.ts";
import { mutateCluster } from "../../verify/fuzz/mutate.ts";
import { partsFrom } from "../../verify/fuzz/parts.ts";
import type { FuzzEvent } from "../../verify/fuzz/target.ts";
import { Random } from "../../verify/kernel/random.ts";
import { isWhole } from "../extent.ts";
import { mutated, TABLE_MUTANTS } from "../mutants/proofMutants.ts";
import { PLANTED } from "../mutants/proofTable.ts";

/** Clusters after up to so many changes. */
function changedClusters(count: number, seed: number): readonly ClusterModel[] {
  const random = new Random(seed);
  const source = { random, parts: partsFrom(random) };
  let model = source.parts.cluster();
  return Array.from({ length: count }, (_, index) => {
    model = index % 12 === 0 ? source.parts.cluster() : mutateCluster(model, source.parts.cluster(), source);
    return model;
  });
}

/** Without the places in the input, which differ. */
function placeless(model: ClusterModel): unknown {
  return JSON.parse(
    JSON.stringify(model, (key, value) => (key === "source" ? undefined : value instanceof Map ? [...value] : value)),
  );
}

describe("a changed cluster", () => {
  it("is one that the loader takes, and reads as it is", () => {
    for (const model of changedClusters(isWhole ? 120 : 40, 1)) {
      const read = fromText({ model, steps: [], fresh: true });
      if (read === undefined) throw new Error(`refused: ${JSON.stringify(placeless(model))}`);
      expect(placeless(read.model)).toEqual(placeless(model));
    }
  });

  it("is drawn by its seed", () => {
    expect(changedClusters(40, 7).map(placeless)).toEqual(changedClusters(40, 7).map(placeless));
  });
});

describe("packets at the edges", () => {
  it("are first packets of different connections: alone they fare as together", () => {
    const random = new Random(3);
    const court = new FreshCourt();
    for (const model of fc.sample(clusterArbitrary(), { numRuns: isWhole ? 5 : 2, seed: 5 })) {
      const packets = edgePackets(model, random, 20);
      for (const strategy of STRATEGIES) {
        const contest: Contest = { accused: strategy, against: { kind: "reference" } };
        const together = court.hold(contest, trialOf(model, packets));
        expect(together).toBeUndefined();
        for (const packet of packets.slice(0, 3)) {
          expect(court.hold(contest, trialOf(model, [packet]))).toBeUndefined();
        }
      }
    }
  });
});

function trialOf(model: ClusterModel, packets: readonly Packet[]): Trial {
  return new Trial({ model, steps: packets.map((packet) => ({ kind: "packet", packet })), fresh: true });
}

describe("kept cases", () => {
  it("are manifests and packets that trace reads", async () => {
    const target = targetOf([kubeRouter]);
    const steps: FuzzEvent[][] = [];
    for (let count = 0; count < 12; count++) steps.push([...(await target.step())]);
    const kept = steps.flat().flatMap((event) => (event.kind === "kept" ? event.files : []));
    expect(kept.length).toBeGreaterThan(10);
    for (const { path, content } of kept) {
      const text = String(content);
      if (path.endsWith(".yaml")) expect(loadCluster([{ name: path, text }]).model).toBeDefined();
      else for (const line of text.trim().split("\n")) expect(isProblem(parsePacketLine(line))).toBe(false);
    }
  });
});

function targetOf(accused: readonly Strategy[]): ClusterTarget {
  const contests = contestsOf(accused, [{ kind: "reference" }]);
  return new ClusterTarget({ random: new Random(1), contests, coverage: new Coverage() });
}

type Suspicion = Extract<FuzzEvent, { kind: "suspect" }>["suspect"];

async function firstSuspect(target: ClusterTarget, clusters: number): Promise<Suspicion> {
  for (let count = 0; count < clusters; count++) {
    const found = (await target.step()).find((event) => event.kind === "suspect");
    if (found?.kind === "suspect") return found.suspect;
  }
  throw new Error(`nothing found in ${clusters} clusters`);
}

async function leastOf({ case: subject, contest, disagreement }: Suspicion): Promise<Finding> {
  const court = new FreshCourt();
  const finding = await minimize(subject, disagreement, {
    retry: async (candidate) => court.hold(contest, new Trial(candidate)),
    budget: 1000,
  });
  if (finding === undefined) throw new Error("the suspect does not stand");
  return finding;
}

describe("a planted bug", () => {
  const bug = TABLE_MUTANTS.find(({ name }) => name === "ports are ranges of two");
  if (bug === undefined) throw new Error("no such mutant");

  it("is found, and made small: one policy, one rule, one packet", async () => {
    const finding = await leastOf(await firstSuspect(targetOf([mutated(kubeRouter, bug)]), 200));
    const { model, steps } = finding.case;
    expect(model.policies.length).toBe(1);
    expect(model.endpoints.length).toBeLessThanOrEqual(2);
    expect(steps.length).toBe(1);
    expect(finding.cause).toMatch(/^kube-router: accept where reference means reject: .*(?:one|range)/);
  });

  it("is written as a scenario with what both sides say", async () => {
    const finding = await leastOf(await firstSuspect(targetOf([mutated(kubeRouter, bug)]), 200));
    const files = findingFiles(finding);
    expect(Object.keys(files)).toEqual(["cluster.yaml", "scenario.yaml"]);
    expect(files["scenario.yaml"]).toMatch(/^# kube-router says accept: /m);
    expect(files["scenario.yaml"]).toMatch(/^# reference means reject: .*isolated/m);
  });
});

describe("an outsider", () => {
  const [model] = fc.sample(clusterArbitrary(), { numRuns: 1, seed: 21 });
  if (model === undefined) throw new Error("no cluster");
  const packets = edgePackets(model, new Random(1), 20);
  const trial = trialOf(model, packets);
  const saying = (means: Outsider["means"], verdicts: Outsider["verdicts"]): Outsider => ({
    name: "oracle",
    means,
    verdicts,
  });

  it("that says the same, or nothing, is agreed with", async () => {
    const court = new FreshCourt();
    const echo = saying("exact", async ({ actual }) => packets.map((_, index) => actual(index)));
    expect(await court.holdOutside(kubeRouter, echo, trial)).toBeUndefined();
    expect(
      await court.holdOutside(
        kubeRouter,
        saying("exact", async () => []),
        trial,
      ),
    ).toBeUndefined();
  });

  it("that says another thing of one packet is not; of passing alone, a drop is a reject", async () => {
    const court = new FreshCourt();
    const odd = saying("exact", async ({ actual }) =>
      packets.map((_, index) => (index === 5 ? (actual(index) === "accept" ? "drop" : "accept") : actual(index))),
    );
    expect(await court.holdOutside(kubeRouter, odd, trial)).toMatchObject({ against: "oracle", step: 5 });
    const silent = saying("passing", async ({ actual }) =>
      packets.map((_, index) => (actual(index) === "reject" ? "drop" : actual(index))),
    );
    expect(await court.holdOutside(kubeRouter, silent, trial)).toBeUndefined();
  });
});

describe("labels", () => {
  const targetFor = (accused: readonly Strategy[]) =>
    new LabelTarget({
      random: new Random(7),
      contests: contestsOf(accused, [{ kind: "reference" }]),
      coverage: new Coverage(),
    });
  /** Of the first run that has any. */
  const suspectsOf = (target: LabelTarget, runs: number) => {
    for (let count = 0; count < runs; count++) {
      const suspects = target.step().filter(({ kind }) => kind === "suspect");
      if (suspects.length > 0) return suspects;
    }
    return [];
  };

  it("agree with the API text, also through text", () => {
    // The 32nd is the first whose text is read again.
    expect(suspectsOf(targetFor(STRATEGIES), isWhole ? 34 : 10)).toEqual([]);
  });

  it("find a selector that is read wrongly", () => {
    const bug = PLANTED.find(({ name }) => name === "a podSelector alone looks into every namespace");
    if (bug === undefined) throw new Error("no such mutant");
    expect(suspectsOf(targetFor([bug.plant(kubeRouter)]), 300).length).toBeGreaterThan(0);
  });
});
