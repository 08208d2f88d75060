/** `bench`: how fast, as numbers that can be compared. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { environmentOf } from "../bench/environment.ts";
import { findingOf, Pace, type PlanOptions, planOf } from "../bench/plan.ts";
import { type BenchReport, NotAReport, readReport } from "../bench/result.ts";
import { runProcesses } from "../bench/runner.ts";
import { SUITES, suiteNamed } from "../bench/suites/registry.ts";
import type { Suite } from "../bench/suites/suite.ts";
import { formatBenchCsv, formatGoBench } from "../format/bench/lines.ts";
import { formatBenchMarkdown } from "../format/bench/markdown.ts";
import { formatBenchPage } from "../format/bench/page.ts";
import { type BenchView, formatBenchTable } from "../format/bench/table.ts";
import { formatColumns } from "../format/columns.ts";
import { defineDocs } from "./benchDocs.ts";
import { defineFlame } from "./benchFlame.ts";
import { defineCalibrate, defineValidate } from "./benchModel.ts";
import { definePeers } from "./benchPeers.ts";
import { defineTargets } from "./benchTargets.ts";
import { addMannerFlags, type MannerFlags, wholeNumber } from "./flags.ts";
import { refuseIdle } from "./idle.ts";
import { readText } from "./input.ts";
import { EXIT, UsageError } from "./io.ts";
import { strategiesOf } from "./lanes.ts";
import type { Session } from "./session.ts";

const FORMATS = ["table", "json", "csv", "go", "md", "html"] as const;

interface BenchFlags extends MannerFlags {
  readonly strategy: string;
  readonly output: (typeof FORMATS)[number] | "findings";
  readonly seed: number;
  readonly quick?: boolean;
  readonly time?: number;
  readonly processes?: number;
  readonly compare?: string;
  readonly list?: boolean;
  readonly turn: readonly [turn: number, turns: number];
}

/** Seconds for everything, and in how many processes; with --quick. */
const DEFAULTS = { seconds: 110, processes: 3 };
const QUICK = { seconds: 17, processes: 2 };

export function define(command: Command, session: Session): void {
  addMannerFlags(command.enablePositionalOptions())
    .argument("[suites...]", `which suites (all): ${SUITES.map(({ name }) => name).join(", ")}`)
    .option("-s, --strategy <NAME[,NAME]|all>", "whose programs", "all")
    .addOption(
      // `findings` is how a process of a benchmark tells the one that started it.
      new Option(`-o, --output <FORMAT>`, `output format (choices: ${FORMATS.join(", ")})`)
        .argParser(formatNamed)
        .default("table"),
    )
    .option("--quick", `a glance: ${QUICK.seconds} seconds instead of ${DEFAULTS.seconds}`)
    .option(
      "--time <SECONDS>",
      "for everything; what is dear to set up is left out when time is short",
      wholeNumber(1, 86_400),
    )
    .option("--processes <N>", "how many processes, one after the other", wholeNumber(1, 100))
    .option("--seed <N>", "of clusters and traffic", wholeNumber(0, 0xffff_ffff), 1)
    .option("--compare <FILE>", "an earlier -o json: what changed, and whether that can be chance")
    .option("--list", "what the suites measure")
    .addOption(new Option("--turn <K/N>").argParser(turnOf).default([0, 1]).hideHelp())
    .action((suites: string[], flags: BenchFlags) => {
      refuseIdle(command, [
        {
          flags: ["--compare"],
          why: "is for -o table, md and html",
          isIdle: flags.list === true || !["table", "md", "html"].includes(flags.output),
        },
      ]);
      return bench(suites, flags, session);
    });
  defineTargets(command.command("targets"), session);
  defineDocs(command.command("docs"), session);
  defineFlame(command.command("flame"), session);
  definePeers(command.command("peers"), session);
  defineCalibrate(command.command("calibrate"), session);
  defineValidate(command.command("validate"), session);
}

function formatNamed(text: string): BenchFlags["output"] {
  const found = [...FORMATS, "findings" as const].find((format) => format === text);
  if (found === undefined) throw new InvalidArgumentError(`Allowed choices are ${FORMATS.join(", ")}.`);
  return found;
}

function turnOf(text: string): readonly [number, number] {
  const [turn, turns] = text.split("/").map(Number);
  if (turn === undefined || turns === undefined || !(turn >= 0 && turn < turns)) {
    throw new InvalidArgumentError("Allowed is K/N.");
  }
  return [turn, turns];
}

async function bench(names: readonly string[], flags: BenchFlags, session: Session): Promise<void> {
  const suites = names.length === 0 ? SUITES : names.map(suiteOrError);
  if (flags.list === true) return list(suites, session);
  if (flags.output === "findings") return measureHere(suites, flags, session);
  const before = flags.compare === undefined ? undefined : await readEarlier(flags.compare, session);
  const report = await measureInProcesses(suites, flags, session);
  const view = before === undefined ? { report } : { report, before };
  for (const line of formatted(view, flags.output, session)) await session.out.line(line);
}

function suiteOrError(name: string): Suite {
  const suite = suiteNamed(name);
  if (suite !== undefined) return suite;
  throw new UsageError(`unknown suite "${name}"; allowed: ${SUITES.map((known) => known.name).join(", ")}, targets`);
}

async function list(suites: readonly Suite[], session: Session): Promise<void> {
  const rows = suites.map(({ name, summary }) => [{ text: name, look: "strong" as const }, { text: summary }]);
  for (const line of formatColumns(rows, { paint: session.paint })) await session.out.line(line);
}

async function readEarlier(path: string, session: Session): Promise<BenchView["before"]> {
  try {
    return { name: path, report: readReport(await readText(session.io, path)) };
  } catch (error) {
    if (!(error instanceof NotAReport)) throw error;
    throw new UsageError(`${path}: not what bench -o json writes: ${error.message}`);
  }
}

function formatted(
  view: BenchView,
  format: (typeof FORMATS)[number] | "findings",
  session: Session,
): readonly string[] {
  switch (format) {
    case "table":
      return formatBenchTable(view, session.paint);
    case "json":
    case "findings":
      return [JSON.stringify(view.report)];
    case "csv":
      return formatBenchCsv(view.report);
    case "go":
      return formatGoBench(view.report);
    case "md":
      return formatBenchMarkdown(view);
    case "html":
      return formatBenchPage(view);
  }
}

function planOptions(suites: readonly Suite[], flags: BenchFlags, budgetMs: number): PlanOptions {
  const [turn, turns] = flags.turn;
  return { suites, strategies: strategiesOf(flags), seed: flags.seed, budgetMs, turn, turns };
}

function budgetOf(flags: BenchFlags): { readonly budgetMs: number; readonly processes: number } {
  const { seconds, processes } = flags.quick === true ? QUICK : DEFAULTS;
  return { budgetMs: (flags.time ?? seconds) * 1_000, processes: flags.processes ?? processes };
}

/** One of the processes: a finding a line, as soon as it is there. */
async function measureHere(suites: readonly Suite[], flags: BenchFlags, session: Session): Promise<void> {
  const { budgetMs } = budgetOf(flags);
  const startMs = session.io.now();
  const { cases, timing } = planOf(planOptions(suites, flags, budgetMs));
  // Once for nothing: the first case would otherwise pay for what the optimiser learns about all of them.
  const [first] = cases;
  const pace = new Pace(timing);
  if (first !== undefined) await findingOf(first, timing, () => session.io.now());
  for (const [index, one] of cases.entries()) {
    if (session.io.interrupted.aborted) return;
    const caseMs = session.io.now();
    // One case is measured whatever it takes.
    if (index > 0 && caseMs - startMs + pace.expectedMs(one) > budgetMs) continue;
    await session.out.line(JSON.stringify(await findingOf(one, timing, () => session.io.now())));
    pace.took(one, session.io.now() - caseMs);
    await session.out.flush();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Arguments that a process shares with the one that starts it. */
function argumentsOf(suites: readonly Suite[], flags: BenchFlags): readonly string[] {
  return ["bench", ...suites.map(({ name }) => name), "-s", flags.strategy, "--seed", String(flags.seed), "--quiet"];
}

async function measureInProcesses(suites: readonly Suite[], flags: BenchFlags, session: Session): Promise<BenchReport> {
  const { io } = session;
  const { budgetMs, processes } = budgetOf(flags);
  const environment = environmentOf({ seed: flags.seed, processes, version: io.version() });
  const planned = planOf(planOptions(suites, flags, budgetMs / processes)).cases.length;
  const all = suites.flatMap((suite) => suite.cases({ strategies: strategiesOf(flags), seed: flags.seed })).length;
  const progress = session.progress("measurements", planned * processes);
  const { results, leftOut, failed } = await runProcesses({
    runSelf: io.runSelf,
    processes,
    seed: flags.seed,
    budgetMs,
    clock: () => io.now(),
    signal: io.interrupted,
    argvOf: (turn, shareMs) => [
      ...argumentsOf(suites, flags),
      ...[
        "-o",
        "findings",
        "--turn",
        `${turn}/${processes}`,
        "--time",
        String(Math.max(1, Math.round(shareMs / 1_000))),
      ],
    ],
    onCase: () => void progress.step(),
  });
  await progress.done();
  for (const reason of suites.flatMap((suite) => suite.absent?.() ?? [])) await session.note(`left out: ${reason}`);
  for (const [name, reason] of leftOut) await session.note(`left out: ${name}: ${reason}`);
  for (const code of failed) await session.error(`a process of the benchmark ended with ${code}`);
  if (failed.length > 0) session.end(EXIT.findings);
  const short = all - results.length - leftOut.size;
  if (short > 0 && !io.interrupted.aborted) {
    await session.note(`${short} of ${all} measurements did not fit into the time; --time SECONDS gives more`);
  }
  return { environment, results };
}
