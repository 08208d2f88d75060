/** `bench flame`: where the rules are that a cluster's traffic makes its nodes look at. */
import type { Command } from "commander";
import { stacksOf } from "../bench/flame.ts";
import { Random } from "../bench/workloads/random.ts";
import { openingPackets } from "../bench/workloads/traffic.ts";
import { resolvePolicies } from "../compiler/compile.ts";
import { formatFlame, formatFolded } from "../format/bench/flame.ts";
import { compileNodes } from "../verify/lane.ts";
import {
  addInputFlags,
  addOutputFlag,
  addStrategyFlags,
  type InputFlags,
  type StrategyFlags,
  wholeNumber,
} from "./flags.ts";
import { loadModel } from "./input.ts";
import { UsageError } from "./io.ts";
import { ownSettings, settingsOf, strategiesOf } from "./lanes.ts";
import type { Session } from "./session.ts";

interface FlameFlags extends InputFlags, StrategyFlags {
  readonly connections: number;
  readonly seed: number;
  readonly output: "folded" | "svg";
}

export function defineFlame(command: Command, session: Session): void {
  addOutputFlag(addStrategyFlags(addInputFlags(command)), ["folded", "svg"])
    .description("what connections between random pods make the nodes look at, as folded stacks or a flame graph")
    .option(
      "--connections <N>",
      "how many: a SYN each, and where it passes the answer and one more packet",
      wholeNumber(1, 10_000_000),
      2_000,
    )
    .option("--seed <N>", "which connections", wholeNumber(0, 0xffff_ffff), 1)
    .action((flags: FlameFlags) => flame(flags, session));
}

async function flame(flags: FlameFlags, session: Session): Promise<void> {
  const [strategy, ...others] = strategiesOf(flags);
  if (strategy === undefined || others.length > 0)
    throw new UsageError("a flame graph is of one strategy: name one with -s");
  const cluster = resolvePolicies(await loadModel(session, flags.filename));
  const withPods = cluster.model.nodes.map(({ name }) => name).filter((name) => cluster.podsOn(name).length > 0);
  if (cluster.pods.length < 2) throw new UsageError("a flame graph needs two pods that can talk to each other");
  const random = new Random(flags.seed);
  const each = Math.ceil(flags.connections / withPods.length);
  const openings = withPods
    .flatMap((node) => openingPackets(cluster, node, { count: each, random }))
    .slice(0, flags.connections);
  const programs = compileNodes(cluster, strategy, { settings: ownSettings(strategy, settingsOf(flags)) });
  const stacks = stacksOf(programs, openings);
  const title = `${strategy.name}: ${openings.length} connections between ${cluster.pods.length} pods`;
  const lines = flags.output === "svg" ? formatFlame(stacks, title) : formatFolded(stacks);
  for (const line of lines) await session.out.line(line);
}
