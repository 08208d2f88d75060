/** `test`: scenarios, each expectation one test. */
import type { Command } from "commander";
import { loadObjects, resolvePolicies } from "../compiler/compile.ts";
import { parseManifests } from "../compiler/manifest/objects.ts";
import { formatAnswer } from "../format/answer.ts";
import { PLAIN } from "../format/paint.ts";
import { annotation, formatReport, type ScenarioTest } from "../format/testReport.ts";
import { formatPacket } from "../traffic/transcript.ts";
import type { Lane } from "../verify/lane.ts";
import { type PacketStep, parseScenario, type Scenario } from "../verify/scenario.ts";
import { scenarioJsonSchema } from "../verify/scenarioJsonSchema.ts";
import { type PacketOutcome, runScenario } from "../verify/scenarioRun.ts";
import { namerOf } from "../verify/who.ts";
import { addMannerFlags, addOutputFlag, addStrategyFlags, type MannerFlags, type StrategyFlags } from "./flags.ts";
import { joinPath, readText } from "./input.ts";
import { EXIT, type Io, UsageError } from "./io.ts";
import { lanesOf, strategyNames } from "./lanes.ts";
import type { Session } from "./session.ts";

const FORMATS = ["tap", "junit", "md", "json", "table"] as const;

interface TestFlags extends MannerFlags, StrategyFlags {
  readonly output: (typeof FORMATS)[number];
  readonly schema?: boolean;
}

export function define(command: Command, session: Session): void {
  addOutputFlag(addMannerFlags(addStrategyFlags(command)), FORMATS)
    .argument("[PATH...]", "scenario folders, or folders of them")
    .option("--schema", "print the JSON Schema of scenario.yaml, and run nothing")
    .action((paths: readonly string[], flags: TestFlags) => test(paths, flags, session));
}

async function test(paths: readonly string[], flags: TestFlags, session: Session): Promise<void> {
  if (flags.schema === true) {
    if (paths.length > 0) throw new UsageError("--schema and scenarios exclude each other: it runs none");
    await session.out.line(JSON.stringify(scenarioJsonSchema(), undefined, 2));
    return;
  }
  if (paths.length === 0) throw new UsageError("name scenario folders, or folders of them");
  const folders: string[] = [];
  for (const path of paths) folders.push(...(await scenarioFolders(session.io, path)));
  const tests: ScenarioTest[] = [];
  for (const folder of folders) {
    tests.push(...(await testScenario(folder, flags, session)));
    if (session.io.interrupted.aborted) break;
  }
  if (tests.some(({ failures }) => failures.length > 0)) session.end(EXIT.findings);
  for (const line of formatReport(tests, flags.output, session.paint)) await session.out.line(line);
  if (session.io.env.GITHUB_ACTIONS === undefined) return;
  for (const failed of tests.filter(({ failures }) => failures.length > 0)) {
    await session.io.stderr.write(`${annotation(failed)}\n`);
  }
}

const SCENARIO = "scenario.yaml";
const CLUSTER = "cluster.yaml";

/** The folder itself when it is a scenario, else every scenario below it. */
async function scenarioFolders(io: Io, path: string): Promise<readonly string[]> {
  const kind = await io.kindOf(path);
  if (kind === undefined) throw new UsageError(`${path}: no such folder`);
  if (kind === "file") {
    if (path.endsWith(SCENARIO)) return [path.slice(0, -SCENARIO.length).replace(/\/$/, "") || "."];
    throw new UsageError(`${path} is no scenario: expected a folder with ${CLUSTER} and ${SCENARIO}`);
  }
  const found = await foldersBelow(io, path);
  if (found.length === 0)
    throw new UsageError(`${path}: no scenario (a folder with ${CLUSTER} and ${SCENARIO}) here or below`);
  return found;
}

async function foldersBelow(io: Io, folder: string): Promise<readonly string[]> {
  if ((await io.kindOf(joinPath(folder, SCENARIO))) === "file") return [folder];
  const entries = [...(await io.readdir(folder))].sort((a, b) => (a.name < b.name ? -1 : 1));
  const found: string[] = [];
  for (const { name, kind } of entries) {
    if (kind === "folder" && name !== "node_modules") found.push(...(await foldersBelow(io, joinPath(folder, name))));
  }
  return found;
}

async function testScenario(folder: string, flags: TestFlags, session: Session): Promise<readonly ScenarioTest[]> {
  const file = async (name: string) => ({
    name: joinPath(folder, name),
    text: await readText(session.io, joinPath(folder, name)),
  });
  const { scenario, issues } = parseScenario(await file(SCENARIO), strategyNames());
  const parsed = parseManifests([await file(CLUSTER)]);
  const loaded = loadObjects(parsed);
  await session.report([...issues, ...loaded.issues]);
  if (scenario === undefined || loaded.model === undefined) {
    // The other scenarios still have something to say.
    session.end(EXIT.invalid);
    return [];
  }
  const cluster = resolvePolicies(loaded.model);
  const tests: ScenarioTest[] = [];
  for (const lane of lanesOf(flags, cluster, {})) {
    for (const event of runScenario({ scenario, objects: parsed.objects, cluster, lane })) {
      if (event.kind === "packet") tests.push(ranTest(scenario, event.step, event.outcome, lane));
      if (event.kind === "absent" && event.step.kind === "packet") {
        tests.push(skippedTest(scenario, event.step, event.reason, lane));
      }
      if (event.kind === "invalid") {
        await session.report(event.issues);
        session.end(EXIT.invalid);
      }
    }
  }
  return tests;
}

function ranTest(scenario: Scenario, step: PacketStep, outcome: PacketOutcome, lane: Lane): ScenarioTest {
  const { packet, answer, cluster, failures, trace } = outcome;
  const nameOf = namerOf(cluster.model);
  const view = { lane, packet, answer, cluster, steps: trace, nameOf };
  return {
    ...identityOf(scenario, step, lane),
    title: `${formatPacket(packet, nameOf)}: ${step.expect}`,
    skipped: undefined,
    failures,
    trace: failures.length === 0 ? [] : formatAnswer(view, { format: "shortest", paint: PLAIN, columns: undefined }),
  };
}

function skippedTest(scenario: Scenario, step: PacketStep, reason: string, lane: Lane): ScenarioTest {
  const { source, destination } = step.packet;
  return {
    ...identityOf(scenario, step, lane),
    title: `${source} > ${destination}: ${step.expect}`,
    skipped: reason,
    failures: [],
    trace: [],
  };
}

function identityOf({ file }: Scenario, { number, line }: PacketStep, { name }: Lane) {
  const folder = file.slice(0, -SCENARIO.length - 1);
  return { scenario: folder.slice(folder.lastIndexOf("/") + 1), strategy: name, file, line, step: number };
}
