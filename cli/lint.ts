/** `lint`: manifests that are valid and do not say what anybody means. */
import { type Command, Option } from "commander";
import { resolvePolicies } from "../compiler/compile.ts";
import { formatIssuePlace } from "../compiler/issue.ts";
import { formatSarif } from "../format/sarif.ts";
import type { LintFinding } from "../verify/lint/finding.ts";
import { lintCluster } from "../verify/lint.ts";
import { addInputFlags, addOutputFlag, type InputFlags } from "./flags.ts";
import { loadModel } from "./input.ts";
import { EXIT } from "./io.ts";
import { strategiesOf } from "./lanes.ts";
import type { Session } from "./session.ts";

interface LintFlags extends InputFlags {
  readonly output: "table" | "json" | "sarif";
  readonly strategy: string;
}

export function define(command: Command, session: Session): void {
  addOutputFlag(addInputFlags(command), ["table", "json", "sarif"])
    .addOption(
      new Option("-s, --strategy <NAME[,NAME]|all>", "whose maps and sets are held against their limits").default(
        "all",
      ),
    )
    .action((flags: LintFlags) => lint(flags, session));
}

async function lint(flags: LintFlags, session: Session): Promise<void> {
  const strategies = strategiesOf(flags);
  const cluster = resolvePolicies(await loadModel(session, flags.filename));
  const { findings, gaps } = lintCluster(cluster, { strategies });
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

/** Two lines a finding: where and what kind, then the sentence. */
function tableOf(findings: readonly LintFinding[], { paint }: Session): readonly string[] {
  const lines = findings.flatMap((finding) => [
    `${formatIssuePlace(finding)}: ${paint.warn(finding.code)} ${paint.faint(finding.path)}`,
    `  ${finding.message}`,
  ]);
  const count = findings.length;
  return [...lines, count === 0 ? "nothing found" : `${count} ${count === 1 ? "finding" : "findings"}`];
}
