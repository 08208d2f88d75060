/** `lint`: manifests that are valid and do not say what anybody means. */
import { type Command, Option } from "commander";
import { resolvePolicies } from "../compiler/compile.ts";
import { formatIssuePlace } from "../compiler/issue.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import { formatSarif } from "../format/sarif.ts";
import type { LintFinding } from "../verify/lint/finding.ts";
import { type LintReport, lintCluster, lintNode } from "../verify/lint.ts";
import { addImportFlags, addInputFlags, addOutputFlag, type ImportFlags, type InputFlags } from "./flags.ts";
import { refuseIdle } from "./idle.ts";
import { asksForImport, readNode, readSaves, savesFlags } from "./imported.ts";
import { loadModel } from "./input.ts";
import { EXIT, UsageError } from "./io.ts";
import { strategiesOf } from "./lanes.ts";
import type { Session } from "./session.ts";

interface LintFlags extends InputFlags, ImportFlags {
  readonly rules?: boolean;
  readonly output: "table" | "json" | "sarif";
  readonly strategy: string;
}

export function define(command: Command, session: Session): void {
  addOutputFlag(addImportFlags(addInputFlags(command)), ["table", "json", "sarif"])
    .addOption(
      new Option("-s, --strategy <NAME[,NAME]|all>", "whose maps and sets are held against their limits").default(
        "all",
      ),
    )
    .option("--rules", "also the rules of emitted chains that no packet can match")
    .action((flags: LintFlags) => {
      refuseIdle(command, [savesFlags(flags)]);
      return lint(flags, session);
    });
}

async function lint(flags: LintFlags, session: Session): Promise<void> {
  const cluster = resolvePolicies(await loadModel(session, flags.filename));
  const { findings, gaps } = asksForImport(flags)
    ? await lintSaves(flags, cluster, session)
    : lintCluster(cluster, { strategies: strategiesOf(flags), rules: flags.rules === true });
  switch (flags.output) {
    case "json":
      await session.out.line(JSON.stringify(findings, undefined, 2));
      break;
    case "sarif":
      await session.out.line(formatSarif(findings, session.io.version()));
      break;
    case "table":
      for (const line of tableOf(findings, session)) await session.out.line(line);
      break;
  }
  for (const gap of gaps) await session.note(`not compared: ${gap}`);
  if (findings.length > 0) session.end(EXIT.findings);
  if (gaps.length > 0) session.end(EXIT.incomplete);
}

/** With a node's saves its rules are looked at, and nothing else. */
async function lintSaves(flags: LintFlags, cluster: ResolvedCluster, session: Session): Promise<LintReport> {
  const [strategy, ...more] = strategiesOf(flags);
  if (strategy === undefined || more.length > 0) {
    throw new UsageError("saves come from one solution: name it with -s NAME");
  }
  const program = await readNode({ flags: { ...flags, set: [] }, strategy, cluster, session });
  const { iptablesSave, ip6tablesSave } = await readSaves(flags, session.io);
  return lintNode(cluster, program, {
    ...(iptablesSave && { 4: iptablesSave }),
    ...(ip6tablesSave && { 6: ip6tablesSave }),
  });
}

/** Two lines a finding: where and what kind, then the sentence. */
function tableOf(findings: readonly LintFinding[], { paint }: Session): readonly string[] {
  const lines = findings.flatMap((finding) => [
    `${formatIssuePlace(finding)}: ${paint.warn(finding.code)} ${paint.faint(finding.path)}`,
    `  ${finding.message}`,
  ]);
  const count = findings.length;
  return [...lines, count === 0 ? "nothing found" : `${count} ${count === 1 ? "finding" : "findings"}`];
}
