/** `compile`: the program of one node, as a synced node prints it. */
import type { Command } from "commander";
import { describeFilled, filledBeyond } from "../compiler/capacity.ts";
import { compileNode, resolvePolicies } from "../compiler/compile.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Program } from "../dataplane/program.ts";
import { programJson, programSummary } from "../format/program.ts";
import { addInputFlags, addOutputFlag, addStrategyFlags, type InputFlags, type StrategyFlags } from "./flags.ts";
import { refuseIdle } from "./idle.ts";
import { loadModel } from "./input.ts";
import { UsageError } from "./io.ts";
import { ownSettings, settingsOf, strategiesOf } from "./lanes.ts";
import type { Session } from "./session.ts";

const FORMATS = ["iptables-save", "ip6tables-save", "ipset-save", "maps", "json", "summary"] as const;

interface CompileFlags extends InputFlags, StrategyFlags {
  readonly node?: string;
  readonly origins?: boolean;
  readonly output: (typeof FORMATS)[number];
}

export function define(command: Command, session: Session): void {
  addOutputFlag(addStrategyFlags(addInputFlags(command)), FORMATS)
    .option("--node <NAME>", "the node; may be left out when there is one, and for a summary of all")
    .option("--origins", "before each rule and set, a # line with what caused it")
    .action((flags: CompileFlags) => {
      refuseIdle(command, [
        {
          flags: ["--origins"],
          why: "is for -o iptables-save, ip6tables-save and ipset-save",
          isIdle: !flags.output.endsWith("-save"),
        },
      ]);
      return compile(flags, session);
    });
}

async function compile(flags: CompileFlags, session: Session): Promise<void> {
  const strategies = strategiesOf(flags);
  const settings = settingsOf(flags);
  const cluster = resolvePolicies(await loadModel(session, flags.filename));
  const nodes = nodesOf(flags, cluster);
  const programs = strategies.flatMap((strategy) =>
    nodes.map((node) => compileNode(cluster, strategy, { node, settings: ownSettings(strategy, settings) })),
  );
  await noteWhatIsNearlyFull(programs, session);
  const { output } = flags;
  if (output === "summary") {
    for (const line of programSummary(programs, session.paint)) await session.out.line(line);
    return;
  }
  // All before anything is written: half an answer may be taken for a whole one.
  const written = programs.map((program) => ({
    title: `# ${program.strategy} on ${program.node}`,
    write: writingOf(program, { output, origins: flags.origins === true }),
  }));
  for (const { title, write } of written) {
    if (written.length > 1 && output !== "json") await session.out.line(title);
    await session.out.text(await write());
  }
}

/** From which share on a set or map is worth a word: one more wide range, or one more application, and it is full. */
const NEARLY_FULL = 0.9;

async function noteWhatIsNearlyFull(programs: readonly Program[], session: Session): Promise<void> {
  for (const program of programs) {
    for (const filled of filledBeyond(program, NEARLY_FULL)) {
      await session.note(`${program.strategy} on ${program.node} is nearly full: ${describeFilled(filled)}`);
    }
  }
}

function nodesOf(flags: CompileFlags, { model }: ResolvedCluster): readonly string[] {
  const names = model.nodes.map(({ name }) => name);
  if (flags.node !== undefined) {
    if (!names.includes(flags.node)) throw new UsageError(`unknown node "${flags.node}"; there are ${listed(names)}`);
    return [flags.node];
  }
  if (flags.output === "summary") return names;
  if (names.length === 1) return names;
  throw new UsageError(`--node is needed: there are ${listed(names)}`);
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? "no nodes" : names.join(", ");
}

interface Form {
  readonly output: Exclude<CompileFlags["output"], "summary">;
  readonly origins: boolean;
}

/** How a program is written; ends the command where it cannot be written so at all. */
function writingOf(program: Program, { output, origins }: Form): () => Promise<string> {
  switch (output) {
    case "json":
      return async () => `${programJson(program)}\n`;
    case "maps":
      if (program.kind !== "maps") throw wrongKind(program, "no maps", "iptables-save, ip6tables-save or ipset-save");
      return async () => (await import("../compiler/render/mapDump.ts")).renderMapDump(program);
    case "ipset-save":
      if (program.kind !== "tables") throw wrongKind(program, "no IP sets", "maps");
      return async () => {
        const { renderIpsetSave } = await import("../compiler/render/ipsetSave.ts");
        return renderIpsetSave(program, origins ? { origins: "before sets" } : {});
      };
    case "iptables-save":
    case "ip6tables-save":
      if (program.kind !== "tables") throw wrongKind(program, "no tables", "maps");
      return async () => {
        const { renderIptablesSave } = await import("../compiler/render/iptablesSave.ts");
        const family = output === "iptables-save" ? 4 : 6;
        return renderIptablesSave(program, family, origins ? { origins: "before rules" } : {});
      };
  }
}

function wrongKind(program: Program, has: string, instead: string): UsageError {
  return new UsageError(`${program.strategy} makes ${has}; use -o ${instead}, json or summary`);
}
