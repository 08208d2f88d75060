/** `validate`: every issue of the manifests. */
import type { Command } from "commander";
import { loadCluster } from "../compiler/compile.ts";
import { hasErrors, type Issue } from "../compiler/issue.ts";
import { formatColumns } from "../format/columns.ts";
import { addInputFlags, addOutputFlag, type InputFlags } from "./flags.ts";
import { readManifests, skippedText } from "./input.ts";
import { EXIT } from "./io.ts";
import type { Session } from "./session.ts";

interface ValidateFlags extends InputFlags {
  readonly output: "table" | "json";
}

export function define(command: Command, session: Session): void {
  addOutputFlag(addInputFlags(command), ["table", "json"]).action((flags: ValidateFlags) => validate(flags, session));
}

async function validate(flags: ValidateFlags, session: Session): Promise<void> {
  const { model, issues, skipped } = loadCluster(await readManifests(session.io, flags.filename));
  if (hasErrors(issues)) session.end(EXIT.invalid);
  switch (flags.output) {
    case "json":
      await session.out.line(JSON.stringify(issues, undefined, 2));
      break;
    case "table":
      for (const line of issueTable(issues, session)) await session.out.line(line);
      if (model !== undefined) {
        const { namespaces, endpoints, policies, nodes } = model;
        await session.out.line(
          `valid: ${count(policies, "policy", "policies")}, ${count(endpoints, "pod", "pods")}, ${count(namespaces, "namespace", "namespaces")}, ${count(nodes, "node", "nodes")}`,
        );
      }
      break;
  }
  if (skipped.size > 0) await session.note(skippedText(skipped));
}

function count(things: readonly unknown[], one: string, many: string): string {
  return `${things.length} ${things.length === 1 ? one : many}`;
}

function issueTable(issues: readonly Issue[], session: Session): readonly string[] {
  const rows = issues.map(({ severity, file, line, column, path, message }) => [
    { text: line > 0 ? `${file}:${line}:${column}` : file },
    { text: severity, look: severity === "error" ? ("bad" as const) : ("warn" as const) },
    { text: path === "" ? message : `${path}: ${message}` },
  ]);
  return formatColumns(rows, { paint: session.paint });
}
