/** `import`: a real node's saves as the program that chainwalk walks. */
import type { Command } from "commander";
import { resolvePolicies } from "../compiler/compile.ts";
import type { ClusterModel } from "../compiler/model.ts";
import { programJson, programSummary } from "../format/program.ts";
import {
  addImportFlags,
  addInputFlags,
  addOutputFlag,
  addStrategyFlags,
  type ImportFlags,
  type InputFlags,
  type StrategyFlags,
} from "./flags.ts";
import { asksForImport, readNode } from "./imported.ts";
import { loadModel } from "./input.ts";
import { UsageError } from "./io.ts";
import { strategiesOf } from "./lanes.ts";
import type { Session } from "./session.ts";

interface ImportVerbFlags extends InputFlags, StrategyFlags, ImportFlags {
  readonly output: "json" | "summary";
}

export function define(command: Command, session: Session): void {
  addOutputFlag(addImportFlags(addStrategyFlags(addInputFlags(command))), ["json", "summary"]).action(
    (flags: ImportVerbFlags) => importNode(flags, session),
  );
}

async function importNode(flags: ImportVerbFlags, session: Session): Promise<void> {
  if (!asksForImport(flags)) {
    throw new UsageError("name what was saved with --iptables-save, --ip6tables-save or --ipset-save FILE");
  }
  const [strategy, ...more] = strategiesOf(flags);
  if (strategy === undefined || more.length > 0) throw new UsageError("a node runs one solution: choose one with -s");
  const model =
    flags.filename.length > 0 ? await loadModel(session, flags.filename) : modelOfNode(flags.node ?? "node");
  const program = await readNode({ flags, strategy, cluster: resolvePolicies(model), session });
  switch (flags.output) {
    case "json":
      await session.out.line(programJson(program));
      break;
    case "summary":
      for (const line of programSummary([program], session.paint)) await session.out.line(line);
      break;
  }
}

/** Without manifests the node is alone, and what is known of its pods is what the interfaces file says. */
function modelOfNode(name: string): ClusterModel {
  const node = { name, labels: new Map<string, string>(), addresses: [], podCidrs: [], source: undefined };
  return { nodes: [node], namespaces: [], endpoints: [], policies: [] };
}
