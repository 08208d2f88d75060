/** `-s` and `--set`: which strategies, with which options, and the lanes they make. */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import { STRATEGIES } from "../compiler/strategies/registry.ts";
import type { Strategy } from "../compiler/strategies/strategy.ts";
import { type Lane, type LaneOptions, REFERENCE, referenceLane, strategyLane } from "../verify/lane.ts";
import type { StrategyFlags } from "./flags.ts";
import { UsageError } from "./io.ts";

/** What `-s` can name. */
export type Choice = { readonly kind: "strategy"; readonly strategy: Strategy } | { readonly kind: "reference" };

/** The strategies of `-s` in the order given, each once. `all` is every solution, without the reference. */
export function choicesOf(flags: Pick<StrategyFlags, "strategy">): readonly Choice[] {
  const names = flags.strategy
    .split(",")
    .flatMap((name) => (name === "all" ? STRATEGIES.map((each) => each.name) : [name]));
  return [...new Set(names)].map((name) => {
    if (name === REFERENCE) return { kind: "reference" };
    const strategy = STRATEGIES.find((candidate) => candidate.name === name);
    if (strategy === undefined)
      throw new UsageError(`unknown strategy "${name}"; allowed: ${strategyNames().join(", ")}, all`);
    return { kind: "strategy", strategy };
  });
}

/** Every name that stands for answers: the solutions and the reference. */
export function strategyNames(): readonly string[] {
  return [...STRATEGIES.map(({ name }) => name), REFERENCE];
}

/** The chosen strategies alone; the reference has no program. */
export function strategiesOf(flags: Pick<StrategyFlags, "strategy">): readonly Strategy[] {
  return choicesOf(flags).map((choice) => {
    if (choice.kind === "reference")
      throw new UsageError("the reference is the API text and has no program; choose a solution");
    return choice.strategy;
  });
}

/** The values of `--set`. Each must be an option of one of the chosen strategies. */
export function settingsOf(flags: StrategyFlags): ReadonlyMap<string, string> {
  const settings = new Map<string, string>();
  if (flags.set.length === 0) return settings;
  const chosen = choicesOf(flags).flatMap((choice) => (choice.kind === "strategy" ? [choice.strategy] : []));
  const known = chosen.flatMap(({ options }) => options.map(({ name }) => name));
  for (const text of flags.set) {
    const equals = text.indexOf("=");
    const name = equals < 0 ? text : text.slice(0, equals);
    if (equals < 1) throw new UsageError(`--set takes OPTION=VALUE, found "${text}"`);
    if (!known.includes(name)) {
      const allowed = known.length === 0 ? "it has none" : `allowed: ${[...new Set(known)].join(", ")}`;
      throw new UsageError(`"${name}" is no option of ${flags.strategy}; ${allowed}`);
    }
    settings.set(name, text.slice(equals + 1));
  }
  return settings;
}

/** One lane for each chosen strategy, over the same cluster. */
export function lanesOf(
  flags: StrategyFlags,
  cluster: ResolvedCluster,
  options: Omit<LaneOptions, "settings">,
): readonly Lane[] {
  const settings = settingsOf(flags);
  return choicesOf(flags).map((choice) => laneOf(choice, cluster, { ...options, settings }));
}

export function laneOf(choice: Choice, cluster: ResolvedCluster, options: LaneOptions): Lane {
  switch (choice.kind) {
    case "reference":
      return referenceLane(cluster);
    case "strategy":
      return strategyLane(cluster, choice.strategy, {
        ...options,
        settings: ownSettings(choice.strategy, options.settings),
      });
  }
}

/** Of the values of `--set` those that the strategy has; the others are for another strategy of the same command. */
export function ownSettings(
  strategy: Strategy,
  settings: ReadonlyMap<string, string> = new Map(),
): ReadonlyMap<string, string> {
  return new Map([...settings].filter(([name]) => strategy.options.some((option) => option.name === name)));
}
