/** A scenario folder, or manifests with packets, as a case of the fuzzer. */
import { loadObjects } from "../../compiler/compile.ts";
import type { Issue } from "../../compiler/issue.ts";
import { type ParsedObject, parseManifests } from "../../compiler/manifest/objects.ts";
import type { ManifestFile } from "../../compiler/manifest/parse.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { isProblem, packetOf, parsePacketLine } from "../../traffic/transcript.ts";
import { REFERENCE } from "../lane.ts";
import { parseScenario } from "../scenario.ts";
import { changeCluster, stepIssue } from "../scenarioCluster.ts";
import { resolverOf } from "../who.ts";
import { type FuzzCase, type FuzzStep, packetSteps } from "./case.ts";

export interface ReadCase {
  /** Undefined when an issue is an error. */
  readonly case: FuzzCase | undefined;
  readonly issues: readonly Issue[];
}

/** `scenario` absent: `packets` are JSON lines, each a first packet. */
export interface CaseFiles {
  readonly cluster: ManifestFile;
  readonly scenario?: ManifestFile;
  readonly packets?: ManifestFile;
}

export function readCase({ cluster, scenario, packets }: CaseFiles): ReadCase {
  const parsed = parseManifests([cluster]);
  const { model, issues } = loadObjects(parsed);
  if (model === undefined) return { case: undefined, issues };
  if (scenario !== undefined) return readSteps(scenario, { model, objects: parsed.objects });
  const resolve = resolverOf(model, "default");
  const found: Issue[] = [];
  const read = (packets?.text.split("\n") ?? []).flatMap((line, index) => {
    if (line === "") return [];
    const text = parsePacketLine(line);
    const packet = isProblem(text) ? text : packetOf(text, resolve);
    if (!isProblem(packet)) return [packet];
    found.push(stepIssue({ line: index + 1, column: 1 }, packets?.name ?? "", packet.problem));
    return [];
  });
  return { case: found.length > 0 ? undefined : { model, steps: packetSteps(read), fresh: true }, issues: found };
}

interface Start {
  readonly model: FuzzCase["model"];
  readonly objects: readonly ParsedObject[];
}

const NAMES: readonly string[] = [...STRATEGIES.map(({ name }) => name), REFERENCE];

/** One packet alone is a first packet; more of them, or changes, are a history. */
function readSteps(file: ManifestFile, start: Start): ReadCase {
  const { scenario, issues } = parseScenario(file, NAMES);
  if (scenario === undefined) return { case: undefined, issues };
  let { model, objects } = start;
  const steps: FuzzStep[] = [];
  for (const step of scenario.steps) {
    if (step.kind === "packet") {
      const packet = packetOf(step.packet, resolverOf(model, "default"));
      if (isProblem(packet)) return { case: undefined, issues: [stepIssue(step, file.name, packet.problem)] };
      steps.push({ kind: "packet", packet });
      continue;
    }
    const changed = changeCluster(objects, step, file.name);
    if (changed.kind === "invalid") return { case: undefined, issues: changed.issues };
    objects = changed.objects;
    model = changed.cluster.model;
    steps.push({ kind: "change", model });
  }
  return { case: { model: start.model, steps, fresh: steps.length === 1 }, issues: [] };
}
