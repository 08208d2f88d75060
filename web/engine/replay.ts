/** A recording through the strategies, as `replay` has it. */
import { formatIssue } from "../../compiler/issue.ts";
import { PLAIN } from "../../format/paint.ts";
import { formatReplayTable } from "../../format/replay/table.ts";
import { Duplicates } from "../../replay/duplicates.ts";
import { filterOf } from "../../replay/filter/filter.ts";
import { Masquerades } from "../../replay/masquerades.ts";
import { mergeTraffic } from "../../replay/mergeTraffic.ts";
import { type FlowFilter, Replay } from "../../replay/replay.ts";
import { withReplicas } from "../../replay/replicas.ts";
import { ReplayReport } from "../../replay/report.ts";
import {
  clustersOfChange,
  type LoadedSetup,
  loadSetup,
  type ReplaySetup,
  type SideSetup,
  servicesOf,
} from "../../replay/setup.ts";
import { openTraffic } from "../../traffic/openTraffic.ts";
import { BATCH_ROWS, TrafficError, type TrafficSource } from "../../traffic/source.ts";
import { REFERENCE } from "../../verify/lane.ts";
import { resolverOf } from "../../verify/who.ts";
import type { ReplayAsk, ReplayReportView } from "../messages.ts";
import { type Bench, savesOf } from "./bench.ts";
import { Refusal } from "./refusal.ts";

/** Why a record is none of the packets replayed, in the command line's words. */
const COPY = "copy of a packet recorded on another interface";

/** Rows of each table. */
const TOP = 20;

export async function replayOf(bench: Bench, ask: ReplayAsk): Promise<ReplayReportView> {
  const { strategies, change, name, bytes } = ask;
  const setup = setupOf(bench, ask);
  const { main } = setup;
  const { loaded, issues, notes } = loadSetup(setup, BATCH_ROWS);
  const model = loaded?.sides[main]?.cluster.model;
  if (loaded === undefined || model === undefined) throw new Refusal(issues.map(formatIssue).join("\n"));
  const source = await opened(name, bytes, withReplicas(resolverOf(model, "default"), model));
  const services = servicesOf(loaded);
  const filter = filterOfText(loaded, ask.filter);
  const replay = new Replay(
    {
      sides: loaded.sides,
      main,
      book: loaded.book,
      ...(services !== undefined && { services }),
      ...(filter !== undefined && { filter }),
    },
    BATCH_ROWS,
  );
  const merged = mergeTraffic([source], { frames: "left out" });
  // A packet recorded on several interfaces is one packet, as it is for the command line.
  const duplicates = new Duplicates(merged.interfaces);
  replay.recognise(duplicates, new Masquerades(model));
  for await (const batch of merged.batches()) replay.consume(batch);
  replay.finish();
  for (const slot of replay.table.ordered()) replay.tally.add(replay.table, slot);
  const report = new ReplayReport({
    table: replay.table,
    sides: loaded.sides,
    causes: loaded.sides.map((side) => side.causes),
    main,
    book: loaded.book,
    tally: replay.tally,
    timeline: replay.timeline,
    steps: replay.steps,
  });
  return {
    lines: [
      ...formatReplayTable(report, {
        comparison: change !== undefined ? "change" : strategies.length > 1 ? "strategies" : "none",
        skipped: new Map([...source.skipped, ...(duplicates.count > 0 ? [[COPY, duplicates.count] as const] : [])]),
        top: TOP,
        paint: PLAIN,
        columns: undefined,
      }),
    ],
    notes: [...notes, ...source.notes, ...source.issues.map(({ message }) => message)],
  };
}

/**
 * A change is looked at under the first of the strategies. Where a node's saves were pasted they are what stands before
 * it, and everything is asked of that node alone.
 */
function setupOf({ files, saved }: Bench, { strategies, change }: ReplayAsk): ReplaySetup {
  const sideOf = (strategy: string, name: string, cluster: number): SideSetup => ({
    name,
    cluster,
    strategy,
    settings: [],
    ...(saved !== undefined &&
      strategy !== REFERENCE &&
      (strategy === saved.strategy && cluster === 0 ? { saves: savesOf(saved) } : { only: saved.node })),
  });
  if (change === undefined)
    return { clusters: [{ files }], sides: strategies.map((each) => sideOf(each, each, 0)), main: 0 };
  const [strategy = ""] = strategies;
  return {
    clusters: clustersOfChange({ files, ...change }),
    sides: [sideOf(strategy, "before", 0), sideOf(strategy, "after", 1)],
    main: 1,
  };
}

/** What was typed, in tcpdump's words. */
function filterOfText({ sides, book }: LoadedSetup, expression: string): FlowFilter | undefined {
  if (expression.trim() === "") return undefined;
  const models = sides.map(({ cluster }) => cluster.model);
  const made = filterOf({ expression, hubble: [], namespace: "default" }, models, book);
  if (made !== undefined && "refusal" in made) throw new Refusal((made.refusal[0] ?? "").replace(/^--/, ""));
  return made;
}

async function opened(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  resolve: ReturnType<typeof resolverOf>,
): Promise<TrafficSource> {
  try {
    return await openTraffic(piecesOf(bytes), { resolve });
  } catch (error) {
    if (error instanceof TrafficError) throw new Refusal(`${name}: ${error.message}`);
    throw error;
  }
}

/** gzip by its magic number (RFC 1952); other compressed files are for the command line. */
async function* piecesOf(bytes: Uint8Array<ArrayBuffer>): AsyncGenerator<Uint8Array> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) {
    yield bytes;
    return;
  }
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}
