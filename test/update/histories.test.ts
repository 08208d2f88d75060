/** Plans of random histories: what they lead to is what a fresh compilation gives. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ClusterModel } from "../../compiler/model.ts";
import { renderMapDump } from "../../compiler/render/mapDump.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { type Controller, carriedOut, controllerOf } from "../../compiler/update/controller.ts";
import { type Burst, burstsBetween } from "../../compiler/update/events.ts";
import { verifyProgram } from "../../compiler/verify.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Program } from "../../dataplane/program.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { packetArbitrary } from "../../verify/fuzz/packet.ts";
import { momentsOf } from "../../verify/timeline/moments.ts";
import { NodeVerdicts } from "../../verify/timeline/verdicts.ts";
import { isWhole } from "../extent.ts";
import { changedHandsStory } from "./changedHandsStory.ts";
import { crowdedStory } from "./crowdedStory.ts";
import { stateLines } from "./recordings.ts";

const NODE = "node-a";
/** So that a history does not turn a family on or off. */
const SETTINGS: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map([
  ["kube-router", new Map([["enable-ipv6", "true"]])],
  [
    "calico-iptables",
    new Map([
      ["ipv6", "on"],
      ["ip-pools", "10.0.0.0/8"],
    ]),
  ],
]);

function linesOf(program: Program): readonly string[] {
  // An entry that stays keeps the cause for which it came, whatever else asks for it since.
  if (program.kind === "maps")
    return renderMapDump(program)
      .replace(/(?<=->.*) {4}.*$/gm, "")
      .split("\n")
      .toSorted();
  return stateLines(program).toSorted();
}

/** States between two of the crowded story that are asked whether the kernel takes them; of more, every few. */
const MOST_CHECKED = isWhole ? 40 : 4;

interface Lived {
  readonly controller: Controller;
  readonly bursts: readonly Burst[];
  /** As the operations left it. */
  readonly state: Program;
  readonly model: ClusterModel;
}

/** Its own start leads from an empty node to where it stands. */
function started(controller: Controller): Controller {
  const { before, operations } = controller.start();
  expect(linesOf(carriedOut(before, operations))).toEqual(linesOf(controller.program));
  return controller;
}

/** Plays the history, and stops at each of its states; states on the way are ones that the kernel takes. */
function* live(strategy: Strategy, models: readonly ClusterModel[], mostChecked: number): Generator<Lived, void, void> {
  const settings = SETTINGS.get(strategy.name);
  const options = { node: NODE, ...(settings && { settings }) };
  let last: Lived | undefined;
  let controller: Controller | undefined;
  let cluster = resolvePolicies(models[0] ?? { nodes: [], namespaces: [], endpoints: [], policies: [] });
  for (const model of models) {
    controller ??= started(controllerOf(strategy, cluster, options));
    const before = last?.state ?? controller.program;
    const bursts = burstsBetween(cluster, resolvePolicies(model));
    const plans = bursts.map((burst) => ({
      operations: controller?.react(burst) ?? [],
      attachment: strategy.attach(burst.after, options),
    }));
    const moments = momentsOf(before, plans, controller.program.attachment);
    const stride = Math.ceil(moments.length / mostChecked);
    for (const [index, { program }] of moments.entries()) {
      if (index % stride === 0) expect(verifyProgram(program)).toEqual([]);
    }
    cluster = bursts.at(-1)?.after ?? cluster;
    last = { controller, bursts, state: moments.at(-1)?.program ?? before, model: cluster.model };
    yield last;
  }
}

function freshProgram(strategy: Strategy, model: ClusterModel): Program {
  const settings = SETTINGS.get(strategy.name);
  return strategy.lower(resolvePolicies({ ...model }), { node: NODE, ...(settings && { settings }) });
}

function verdictsUnder(program: Program, packets: readonly Packet[]): readonly string[] {
  return new NodeVerdicts(program).of(packets);
}

/** At each state of the history the plans end in what they aim at, which is what a fresh compilation gives. */
function expectArrived(
  strategy: Strategy,
  models: readonly ClusterModel[],
  packets: readonly Packet[],
  mostChecked = Number.MAX_SAFE_INTEGER,
): void {
  for (const lived of live(strategy, models, mostChecked)) {
    expect(linesOf(lived.state)).toEqual(linesOf(lived.controller.program));
    if (lived.controller.remembers === true) continue;
    const fresh = freshProgram(strategy, lived.model);
    // Numbers in maps go on counting; everything else is what a fresh compilation gives, line by line.
    if (fresh.kind === "tables") expect(linesOf(lived.controller.comparable ?? lived.state)).toEqual(linesOf(fresh));
    expect(verdictsUnder(lived.state, packets)).toEqual(verdictsUnder(fresh, packets));
  }
}

const histories = fc
  .constantFrom("ipv4" as const, "dual" as const)
  .chain((stack) => fc.array(clusterArbitrary({ stack }), { minLength: 2, maxLength: 3 }))
  .filter((models) => models.every(({ nodes }) => nodes.some(({ name }) => name === NODE)));

const RUNS = isWhole ? 20 : 1;

describe.each(STRATEGIES)("$name", (strategy) => {
  it("executed, its plans lead from program to program", () => {
    fc.assert(
      fc.property(histories, fc.array(packetArbitrary, { minLength: 40, maxLength: 40 }), (models, packets) => {
        expectArrived(strategy, models, packets);
      }),
      { numRuns: RUNS },
    );
  }, 120_000);

  it.each([
    ["a crowded story", crowdedStory],
    ["a story of changed hands", changedHandsStory],
  ])(
    "as well at every state of %s",
    (_, story) => {
      const packets = fc.sample(packetArbitrary, { numRuns: 40, seed: 1 });
      expectArrived(strategy, story(), packets, MOST_CHECKED);
    },
    120_000,
  );
});
