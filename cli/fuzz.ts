/** `fuzz`: campaigns of random clusters and packets, on which two that must agree are compared. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { STRATEGIES } from "../compiler/strategies/registry.ts";
import { counted } from "../traffic/findings.ts";
import type { CampaignSettings, FindingText } from "../verify/fuzz/campaign.ts";
import { FORMATS, formatNamed } from "../verify/fuzz/formats.ts";
import { KERNEL } from "../verify/fuzz/kernelOutsider.ts";
import { missingCapabilities, reasonAgainst } from "../verify/kernel/capabilities.ts";
import { REFERENCE } from "../verify/lane.ts";
import { addMannerFlags, addOutputFlag, folderName, type MannerFlags, wholeNumber } from "./flags.ts";
import { COMMAND } from "./fuzzCommand.ts";
import { runJobs } from "./fuzzJobs.ts";
import { type CampaignFlags, type FuzzFolders, FuzzLedger } from "./fuzzLedger.ts";
import { minimizeFile } from "./fuzzMinimize.ts";
import { refuseIdle } from "./idle.ts";
import { joinPath } from "./input.ts";
import { EXIT, UsageError } from "./io.ts";
import { strategiesOf } from "./lanes.ts";
import type { Session } from "./session.ts";

interface FuzzFlags extends MannerFlags {
  readonly strategy: string;
  readonly against: string;
  readonly target: string;
  readonly maxTime?: number;
  readonly runs?: number;
  readonly seed: number;
  readonly jobs: number;
  readonly corpus?: string;
  readonly findings: string;
  readonly resume?: boolean;
  readonly minimize?: string;
  readonly output: "table" | "json";
}

/** When neither a time nor a number of runs is given. */
const DEFAULT_SECONDS = 60;

/** What `--target` can name. */
const TARGETS = ["clusters", "labels", "histories", "connections", ...FORMATS.map(({ name }) => name)];

export function define(command: Command, session: Session): void {
  addOutputFlag(addMannerFlags(command), ["table", "json"])
    .option("-s, --strategy <NAME[,NAME]|all>", "who is accused", "all")
    .option(
      "--against <WHO[,WHO]>",
      `who speaks against them: ${REFERENCE}, import, ${KERNEL}, a strategy, or ${COMMAND}CMD`,
      REFERENCE,
    )
    .option("--target <WHAT[,WHAT]|all>", `what is drawn: ${TARGETS.join(", ")}`, "clusters")
    .option("--max-time <SECONDS>", `stop after so long; ${DEFAULT_SECONDS} when --runs is not given either`, seconds)
    .option(
      "--runs <N>",
      "stop after so many runs; the case at hand is held for every strategy first",
      wholeNumber(1, Number.MAX_SAFE_INTEGER),
    )
    .option("--seed <N>", "which cases are drawn", wholeNumber(0, 0xffff_ffff), 1)
    .addOption(new Option("--jobs <N>", "threads").argParser(wholeNumber(1, 64)).default(1))
    .option(
      "--corpus <DIR>",
      "keep cases that show something new here, and a journal; read what is there first",
      folderName,
    )
    .option("--findings <DIR>", "where scenario folders are written", folderName, "findings")
    .option(
      "--resume",
      "go on with the last campaign of the journal in --corpus: its seed and subjects; its runs, time and findings count",
    )
    .option("--minimize <FILE>", "no campaign: make this case or input as small as it goes; also 'fuzz minimize FILE'")
    .argument("[minimize FILE...]", "as --minimize FILE")
    .action((words: readonly string[], flags: FuzzFlags) => {
      const isGiven = (flag: string) => command.getOptionValueSource(flag) === "cli";
      const named = minimizeWords(words);
      refuseIdle(command, [
        {
          flags: ["--minimize"],
          why: "names one file, and minimize FILE another",
          isIdle: named.minimize !== undefined,
        },
        {
          flags: ["--runs", "--max-time", "--jobs", "--corpus", "--resume"],
          why: "is for a campaign: one case is made small until nothing more can go",
          isIdle: named.minimize !== undefined || flags.minimize !== undefined,
        },
      ]);
      return fuzz({ ...flags, ...named }, isGiven, session);
    });
}

function seconds(text: string): number {
  const number = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || number <= 0) throw new InvalidArgumentError("Allowed is a number of seconds.");
  return number;
}

function minimizeWords(words: readonly string[]): Pick<FuzzFlags, "minimize"> {
  const [action, file, ...more] = words;
  if (action === undefined) return {};
  if (action !== "minimize" || file === undefined || more.length > 0) {
    throw new UsageError(`fuzz ${words.join(" ")}: allowed is fuzz minimize FILE`);
  }
  return { minimize: file };
}

async function fuzz(given: FuzzFlags, isGiven: (flag: string) => boolean, session: Session): Promise<void> {
  if (given.resume === true && given.corpus === undefined) {
    throw new UsageError("--resume goes on with the journal of a corpus: name it with --corpus DIR");
  }
  const folders: FuzzFolders = { corpus: given.corpus, findings: given.findings };
  const resumed =
    given.resume === true && given.minimize === undefined
      ? await FuzzLedger.open(session.io, folders, "resume")
      : undefined;
  const flags = resumed?.campaign === undefined ? given : goingOn(given, isGiven, resumed.campaign);
  const { strategies, against, targets } = subjectOf(flags);
  for (const target of targets) checkAgainst(target, against);
  if (against.includes(KERNEL)) {
    const reason = reasonAgainst(await missingCapabilities(), "bridge");
    if (reason !== undefined) {
      await session.error(`the kernel cannot be asked here: ${reason}`);
      session.end(EXIT.incapable);
      return;
    }
  }
  const { seed, strategy, target } = flags;
  const campaign = { seed, strategy, against: flags.against, target };
  if (flags.minimize !== undefined) {
    const found = await minimizeFile({ session, path: flags.minimize, strategies, against, targets });
    const ledger = await FuzzLedger.open(session.io, { corpus: undefined, findings: flags.findings }, campaign);
    for (const finding of found) await ledger.find(finding);
    if (found.length > 0) session.end(EXIT.findings);
    else await session.note(`${flags.minimize}: nothing is wrong with it`);
    return tell(flags, ledger, session);
  }
  const ledger = resumed ?? (await FuzzLedger.open(session.io, folders, campaign));
  const settings: Omit<CampaignSettings, "job"> = {
    seed: flags.seed,
    offset: ledger.runs,
    strategies,
    against,
    targets,
    features: [...ledger.features],
    causes: ledger.findings.map(({ cause }) => cause),
  };
  const maxSeconds = flags.maxTime ?? (flags.runs === undefined ? DEFAULT_SECONDS : Number.POSITIVE_INFINITY);
  await runJobs({
    session,
    ledger,
    settings,
    jobs: flags.jobs,
    maxSeconds,
    maxRuns: flags.runs ?? Number.POSITIVE_INFINITY,
  });
  await tell(flags, ledger, session);
  if (ledger.findings.length > 0) session.end(EXIT.findings);
}

interface Subject {
  readonly strategies: readonly string[];
  readonly against: readonly string[];
  readonly targets: readonly string[];
}

function subjectOf(flags: Pick<FuzzFlags, "strategy" | "against" | "target">): Subject {
  return {
    strategies: strategiesOf(flags).map(({ name }) => name),
    against: againstOf(flags),
    targets: listOf(flags.target === "all" ? TARGETS.join() : flags.target, TARGETS, "--target"),
  };
}

/**
 * The flags of the campaign that is gone on with. What the user gives otherwise would be counted as one campaign with what
 * was drawn from another seed, or of something else.
 */
function goingOn(given: FuzzFlags, isGiven: (flag: string) => boolean, campaign: CampaignFlags): FuzzFlags {
  const asked = subjectOf(given);
  const stored = subjectOf(campaign);
  const pairs = [
    ["seed", [given.seed], [campaign.seed]],
    ["strategy", asked.strategies, stored.strategies],
    ["against", asked.against, stored.against],
    ["target", asked.targets, stored.targets],
  ] as const;
  const other = pairs.filter(([flag, mine, its]) => isGiven(flag) && !isSameSet(mine, its)).map(([flag]) => flag);
  if (other.length > 0) {
    const flagsOf = (from: CampaignFlags) =>
      other.map((flag) => `--${flag} ${shellWord(String(from[flag]))}`).join(" ");
    throw new UsageError(
      `${flagsOf(given)}: the campaign in ${given.corpus} has ${flagsOf(campaign)}; leave out what differs to go on with it, or --resume to begin another`,
    );
  }
  return { ...given, ...campaign };
}

function isSameSet(one: readonly unknown[], other: readonly unknown[]): boolean {
  const [ones, others] = [new Set(one), new Set(other)];
  return ones.size === others.size && [...ones].every((value) => others.has(value));
}

/** A command is taken whole: it may have commas of its own. */
function againstOf({ against }: Pick<FuzzFlags, "against">): readonly string[] {
  if (against.startsWith(COMMAND)) return [against];
  return listOf(against, [REFERENCE, "import", KERNEL, ...STRATEGIES.map(({ name }) => name)], "--against");
}

/** Nobody may think that a target was held against somebody whom it never asks. Readers and connections have their own. */
function checkAgainst(target: string, against: readonly string[]): void {
  if (target === "labels") {
    const outside = against.find((name) => name === KERNEL || name.startsWith(COMMAND));
    if (outside === undefined) return;
    throw new UsageError(
      `--target labels --against ${outside}: labels are held against ${REFERENCE}, import and strategies; take --target clusters`,
    );
  }
  if (target !== "histories" || against.includes(REFERENCE)) return;
  throw new UsageError(
    `--target histories --against ${against.join()}: histories are held against ${REFERENCE} alone; name it as well`,
  );
}

function listOf(text: string, allowed: readonly string[], flag: string): readonly string[] {
  const names = [...new Set(text.split(","))];
  for (const name of names) {
    if (!allowed.includes(name)) throw new UsageError(`${flag} ${name}: allowed are ${allowed.join(", ")}`);
  }
  return names;
}

async function tell(flags: FuzzFlags, ledger: FuzzLedger, session: Session): Promise<void> {
  const { runs, seconds: spent, features, corpusSize, findings } = ledger;
  const listed = findings.map((finding) => ({
    scenario: joinPath(flags.findings, finding.name),
    cause: finding.cause,
    reproduce: reproduceLine(flags.findings, finding),
  }));
  if (flags.output === "json") {
    const report = { seed: flags.seed, runs, seconds: spent, features: features.size, corpus: corpusSize };
    await session.out.line(JSON.stringify({ ...report, findings: listed }));
    return;
  }
  const rate = spent > 0 ? ` (${Math.round(runs / spent)} a second)` : "";
  await session.out.line(
    `${runs} runs in ${spent.toFixed(1)} s${rate}, seed ${flags.seed}: ${features.size} features, ${corpusSize} cases kept, ${counted(listed.length, "finding")}`,
  );
  for (const { scenario, cause, reproduce } of listed) {
    await session.out.line(`  ${cause}`);
    await session.out.line(`    ${scenario}   again: ${reproduce}`);
  }
}

/** The command that shows the finding again, for a shell in this folder. */
function reproduceLine(folder: string, { name, accused, against, shows, node }: FindingText): string {
  const path = joinPath(folder, name);
  if (shows === "input")
    return `chainwalk fuzz --minimize ${path}/input.${formatNamed(accused)?.extension} --target ${accused}`;
  if (shows === "connection") return `chainwalk fuzz --minimize ${path}/conversation.jsonl --target connections`;
  if (shows === "thrown") return `chainwalk compile -f ${path}/cluster.yaml -s ${accused} --node ${node} -o summary`;
  if (against !== REFERENCE && !STRATEGIES.some(({ name: known }) => known === against)) {
    return `chainwalk fuzz --minimize ${path} -s ${accused} --against ${shellWord(against)}`;
  }
  return `chainwalk test ${path} -s ${accused}`;
}

function shellWord(text: string): string {
  return /^[\w:./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
