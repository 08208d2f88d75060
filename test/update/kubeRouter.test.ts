/** Our syncs against kube-router's: the same lines, and on the recorded states the recorded states after. */
import { describe, expect, it } from "vitest";
import type { RecordedCommand } from "../../compiler/import/operations.ts";
import { carriedOut, controllerOf } from "../../compiler/update/controller.ts";
import { burstsBetween } from "../../compiler/update/events.ts";
import type { Operation } from "../../compiler/update/operation.ts";
import { ourText } from "../realDumps/nodeText.ts";
import { normaliseKubeRouter, ordersOf } from "../realDumps/normaliseKubeRouter.ts";
import { hasShared } from "../shared.ts";
import { commandsOf, NODES, STORIES, stateOf, storyClusters, strategyCalled } from "./recordings.ts";

/** Chains are named by the moment of the sync: here by whose they are, which rules that lead to them and in them say. */
function chainOwners(stdin: string): ReadonlyMap<string, string> {
  const owners = new Map<string, string>();
  for (const line of stdin.split("\n")) {
    const [, chain, policy] =
      /^-A (KUBE-NWPLCY-\w{16}) .*--comment "(\S+) (?:in|e)gress (?:pods|any|cidr)/.exec(line) ?? [];
    if (chain !== undefined) owners.set(chain, `policy:${policy}`);
    const [, jumped, to] = /--comment "(\S+) policy" -j (\S+)/.exec(line) ?? [];
    if (to !== undefined) owners.set(to, `policy:${jumped}`);
    const [, pod, fw] = /--comment "(\S+) (?:in|out)" .*-j (KUBE-POD-FW-\w{16})/.exec(line) ?? [];
    if (fw !== undefined) owners.set(fw, `pod:${pod}`);
  }
  for (const [name] of stdin.matchAll(/KUBE-NWPLCY-[A-Z2-7]{16}/g))
    if (!owners.has(name)) owners.set(name, "policy:nobody's");
  return owners;
}

/** Named ports' sets have a number in their name that is drawn anew in each sync: here they go by what they are for. */
function portSets(stdin: string): ReadonlyMap<string, string> {
  return new Map(
    [...stdin.matchAll(/--comment "(\S+) (\w+) \w+ np".*--match-set (KUBE-DST-\w+) dst (-p \w+ --dport \d+)/g)].map(
      ([, policy, direction, set = "", port]) => [set, `np:${policy}:${direction}:${port}`],
    ),
  );
}

/** The lines of a sync, without what it draws: names of chains, order of pods, policies and members. */
function syncLines(commands: readonly (RecordedCommand | Operation)[]): readonly (readonly string[])[] {
  const ports = new Map<string, string>();
  for (const { stdin } of commands) for (const [set, name] of portSets(stdin ?? "")) ports.set(set, name);
  return commands.map(({ tool, args, stdin }) => {
    const owners = chainOwners(stdin ?? "");
    const own = portSets(stdin ?? "");
    const words = (line: string) =>
      line.replace(/(?:inet6:)?KUBE-[\w-]+/g, (name) => owners.get(name) ?? own.get(name) ?? name);
    const lines = (stdin ?? "").split("\n").map(words);
    if (tool !== "ipset") return [tool, ...args, ...lines.toSorted()];
    // Which pods share a named port's set, and whether there is one, is drawn as well.
    const blocks = (stdin ?? "")
      .split(/(?<=\n)(?=flush TMP)/)
      .filter((block) => ![...ports.keys()].some((set) => block.includes(set)));
    return [
      tool,
      ...(args[0] === "destroy" ? ["destroy"] : args),
      ...blocks.map((block) => block.split("\n").toSorted().join("\n")),
    ];
  });
}

/** The single commands of the start in the order of their names, each chain's own together: hooks come in any order. */
function inStages(lines: readonly (readonly string[])[]): readonly (readonly string[])[] {
  const single = ([tool]: readonly string[]) => tool === "iptables" || tool === "ip6tables";
  const fixed = lines.filter(single);
  const hooks = fixed.findIndex((words) => words.includes("RETURN"));
  const key = (words: readonly string[]) => words.join(" ").replace(/-[NIA] (?:KUBE-ROUTER-)?/, "");
  return [
    ...fixed.slice(0, hooks).toSorted((a, b) => (key(a) < key(b) ? -1 : 1)),
    ...fixed.slice(hooks),
    ...lines.filter((words) => !single(words)),
  ];
}

describe.skipIf(!hasShared)("kube-router", () => {
  const strategy = strategyCalled("kube-router");
  for (const story of STORIES) {
    for (const node of NODES) {
      it(`${story} on ${node}: every command as recorded, and the state after`, () => {
        const clusters = storyClusters(story);
        for (const [step, cluster] of clusters.entries()) {
          const before = clusters[step - 1];
          const folder = ["kube-router", story, node] as const;
          const wanted = stateOf(strategy, cluster, node, ...folder, `step-${step}`);
          const settings = ordersOf(ourText(wanted));
          const controller = controllerOf(strategy, before ?? cluster, { node, settings });
          const start = before === undefined ? controller.start() : undefined;
          const operations =
            start?.operations ?? burstsBetween(before ?? cluster, cluster).flatMap((burst) => controller.react(burst));
          const held = start?.before ?? stateOf(strategy, cluster, node, ...folder, `step-${step - 1}`);
          const after = normaliseKubeRouter(ourText(carriedOut(held, operations)));
          const recorded = normaliseKubeRouter(ourText(wanted));
          expect([step, after.chains]).toEqual([step, recorded.chains]);
          expect([step, after.sets]).toEqual([step, recorded.sets]);
          const commands = commandsOf(...folder, `step-${step}`);
          expect(inStages(syncLines(operations))).toEqual(inStages(syncLines(commands)));
        }
      });
    }
  }
});
