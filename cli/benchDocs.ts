/** `bench docs`: the page docs/benchmarks.md with its charts, from one run of everything, or from what earlier runs left. */
import type { Command } from "commander";
import { readValidations } from "../bench/kernel/validate.ts";
import { readPeerRows } from "../bench/peers/run.ts";
import { type BenchReport, NotAReport, readReport, suiteOf } from "../bench/result.ts";
import { SUITES } from "../bench/suites/registry.ts";
import { readTargetRows } from "../bench/targets/run.ts";
import { formatBenchDocs } from "../format/bench/docs.ts";
import { standaloneChart } from "../format/bench/suiteChart.ts";
import { addMannerFlags, folderName, type MannerFlags } from "./flags.ts";
import { joinPath, readText } from "./input.ts";
import { UsageError } from "./io.ts";
import type { Session } from "./session.ts";

interface DocsFlags extends MannerFlags {
  readonly folder: string;
  readonly data?: string;
}

/**
 * What the page is made of: the command whose JSON it is, and how many seconds it may take. All fit into twenty minutes;
 * in the two that `bench` takes by itself there is no large rule set, cluster or map.
 */
const PARTS = {
  report: { argv: ["bench", "--time", "420"], seconds: 480 },
  targets: { argv: ["bench", "targets", "--time", "400"], seconds: 410 },
  peers: { argv: ["bench", "peers"], seconds: 130 },
  validate: { argv: ["bench", "validate"], seconds: 130 },
} as const satisfies Record<string, Part>;

interface Part {
  readonly argv: readonly string[];
  readonly seconds: number;
}

export function defineDocs(command: Command, session: Session): void {
  addMannerFlags(command)
    .description("write benchmarks.md and its charts: runs everything, which takes up to twenty minutes")
    .option("--folder <DIR>", "where the page goes", folderName, "docs")
    .option(
      "--data <DIR>",
      "JSON of earlier runs (report, targets, peers, validate .json): what is there is not run again",
    )
    .action((flags: DocsFlags) => docs(flags, session));
}

async function docs(flags: DocsFlags, session: Session): Promise<void> {
  const { io } = session;
  const progress = session.progress("parts", Object.keys(PARTS).length);
  const texts = new Map<string, string>();
  for (const [part, how] of Object.entries(PARTS)) {
    texts.set(part, await textOf(part, how, flags, session));
    if (!(await progress.step())) return;
  }
  await progress.done();
  const report = reportFrom(texts.get("report") ?? "");
  const page = formatBenchDocs({
    report,
    targets: rowsFrom("targets", texts.get("targets"), readTargetRows),
    peers: rowsFrom("peers", texts.get("peers"), readPeerRows),
    validations: rowsFrom("validate", texts.get("validate"), readValidations),
  });
  for (const suite of SUITES) {
    const results = report.results.filter((result) => suiteOf(result) === suite.name);
    if (results.length === 0) continue;
    await io.writeFile(
      joinPath(flags.folder, `benchmarks/${suite.name}.svg`),
      standaloneChart(suite, results).join("\n"),
    );
  }
  await io.writeFile(joinPath(flags.folder, "benchmarks.md"), `${page.join("\n")}\n`);
}

/** The JSON of a part: what an earlier run left, or what it is now. */
async function textOf(part: string, { argv, seconds }: Part, flags: DocsFlags, session: Session): Promise<string> {
  const { io } = session;
  const file = flags.data === undefined ? undefined : joinPath(flags.data, `${part}.json`);
  if (file !== undefined && (await io.kindOf(file)) === "file") return readText(io, file);
  const lines: string[] = [];
  const onLine = (line: string) => void lines.push(line);
  const limit = AbortSignal.timeout(seconds * 1_000);
  const signal = AbortSignal.any([io.interrupted, limit]);
  const code = await io.runSelf({ argv: [...argv, "-o", "json", "--quiet"], signal, onLine });
  const text = lines.join("\n");
  // Without root there is no kernel to validate against, and what takes too long is told to stop: the page has what there is.
  if (code !== 0) {
    const why = limit.aborted ? `was not done within ${seconds} s` : `ended with ${code}`;
    if (part === "report" && text === "") throw new UsageError(`chainwalk ${argv.join(" ")} ${why}`);
    await session.note(`chainwalk ${argv.join(" ")} ${why}`);
  }
  if (file !== undefined && text !== "") await io.writeFile(file, `${text}\n`);
  return text;
}

function reportFrom(text: string): BenchReport {
  try {
    return readReport(text);
  } catch (error) {
    if (!(error instanceof NotAReport)) throw error;
    throw new UsageError(`report.json: not what bench -o json writes: ${error.message}`);
  }
}

/** Rows that another verb of ours wrote; nothing where it could not run. */
function rowsFrom<Row>(part: string, text: string | undefined, read: (text: string) => readonly Row[]): readonly Row[] {
  if (text === undefined || text.trim() === "") return [];
  try {
    return read(text);
  } catch (error) {
    const why = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
    throw new UsageError(`${part}.json: not what chainwalk bench ${part} writes: ${why}`);
  }
}
