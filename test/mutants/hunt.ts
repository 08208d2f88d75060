/**
 * The fuzzer let loose on planted bugs. Mistakes in our own source are loaded with everything that imports them
 * (mutantLoader.ts), this file among it.
 */
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { ClusterTarget, contestsOf } from "../../verify/fuzz/clusterTarget.ts";
import { drawConnections, holdConnections } from "../../verify/fuzz/connectionTarget.ts";
import type { Against } from "../../verify/fuzz/contest.ts";
import { ClusterCorpus } from "../../verify/fuzz/corpus.ts";
import { Coverage } from "../../verify/fuzz/coverage.ts";
import { HistoryTarget } from "../../verify/fuzz/historyTarget.ts";
import type { FuzzTarget } from "../../verify/fuzz/target.ts";
import { Random } from "../../verify/kernel/random.ts";

export interface Hunt {
  readonly accused: readonly Strategy[];
  readonly against?: Against;
  readonly what: "clusters" | "histories";
  /** Clusters or histories to draw. */
  readonly budget: number;
}

/** How many were drawn until something was found; undefined: nothing was. */
export function hunt({ accused, against = { kind: "reference" }, what, budget }: Hunt): number | undefined {
  const random = new Random(SEED);
  const coverage = new Coverage();
  const target: FuzzTarget =
    what === "clusters"
      ? new ClusterTarget({ random, contests: contestsOf(accused, [against]), coverage })
      : new HistoryTarget({ random, accused, coverage, corpus: new ClusterCorpus() });
  for (let count = 1; count <= budget; count++) {
    const events = target.step();
    if (events instanceof Promise) throw new Error("the target answers later");
    if (events.some(({ kind }) => kind === "suspect")) return count;
  }
  return undefined;
}

/** How many conversations, several at once each time, were drawn until connection tracking and its model parted. */
export function huntConnections(budget: number): number | undefined {
  const random = new Random(SEED);
  for (let count = 1; count <= budget; count++) {
    if (holdConnections(drawConnections(random)) !== undefined) return count;
  }
  return undefined;
}

/** Fixed: whether a bug is found must not depend on luck. */
const SEED = 20_261_127;

export type Mistaken = "walk and sets" | "renderer" | "strategy" | "connection tracking";

/** Conversations for one mistake: two seconds of one core. */
export const CONVERSATIONS = 1_500;

/** In this build, with what is mistaken in it, by the ways that reach it; the first that finds something. */
export function huntMistake(mistaken: Mistaken): { readonly how: string; readonly count: number } | undefined {
  const tables = STRATEGIES.filter(({ name }) => TABLES.has(name));
  const clusters = { how: "clusters", accused: tables, what: "clusters", budget: 12 } as const;
  const text = { how: "clusters, through text", accused: tables, what: "clusters", budget: 12 } as const;
  const histories = { how: "histories", accused: tables.slice(0, 1), what: "histories", budget: 24 } as const;
  if (mistaken === "connection tracking") {
    const count = huntConnections(CONVERSATIONS);
    return count === undefined ? undefined : { how: "connections", count };
  }
  const ways: readonly (Hunt & { readonly how: string })[] = {
    "walk and sets": [clusters, histories],
    renderer: [{ ...text, against: { kind: "import" } as const }],
    strategy: [clusters],
  }[mistaken];
  for (const way of ways) {
    const count = hunt(way);
    if (count !== undefined) return { how: way.how, count };
  }
  return undefined;
}

/** Whose rules have most kinds of matches between them. */
const TABLES: ReadonlySet<string> = new Set(["kube-router", "calico-iptables", "weave-net"]);
