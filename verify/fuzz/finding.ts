/** A finding as a scenario folder: the least cluster, the least packets, and what both sides say about the last one. */

import { sha1, toHex } from "../../compiler/hash.ts";
import type { Manifest } from "../../compiler/manifest/write.ts";
import { manifestsOf, manifestText } from "../../compiler/manifest/write.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { strategyNamed } from "../../compiler/strategies/registry.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import { explain } from "../explain.ts";
import { REFERENCE, strategyLane } from "../lane.ts";
import type { Disagreement, FuzzCase } from "./case.ts";
import { causeOf } from "./cause.ts";

/** What a campaign reports. */
export interface Finding {
  /** The folder's name. */
  readonly name: string;
  readonly cause: string;
  readonly disagreement: Disagreement;
  readonly case: FuzzCase;
}

export function findingOf(subject: FuzzCase, disagreement: Disagreement): Finding {
  const cause = causeOf(subject, disagreement);
  const name = `${disagreement.accused}-${disagreement.against.replace(/[^a-z0-9-]+/gi, "-")}-${contentName(cause)}`;
  return { name, cause, disagreement, case: subject };
}

/** Sixteen hex digits of the SHA-1 of the text. */
export function contentName(text: string): string {
  return toHex(sha1(new TextEncoder().encode(text))).slice(0, 16);
}

/** The files of the folder; both are JSON, which is YAML, below lines of comment. */
export function findingFiles(finding: Finding): Readonly<Record<string, string>> {
  const { case: subject, cause, disagreement } = finding;
  const lines = [cause, ...explanations(subject, disagreement)].map((line) => `# ${line.replaceAll("\n", " ")}\n`);
  const cluster = clusterText(subject.model);
  // What is thrown while compiling needs no packet, and a scenario has at least one.
  if (disagreement.step === undefined) return { "cluster.yaml": lines.join("") + cluster };
  return { "cluster.yaml": cluster, "scenario.yaml": lines.join("") + scenarioText(subject, disagreement) };
}

export function clusterText(model: ClusterModel): string {
  return `${manifestText(manifestsOf(model))}\n`;
}

/** What the accused did and why, and what the other side says. */
export function explanations(subject: FuzzCase, disagreement: Disagreement): readonly string[] {
  const { accused, against, expected, actual, step, thrown } = disagreement;
  if (thrown !== undefined) return [`${accused}: ${thrown}`];
  const strategy = strategyNamed(accused);
  const at = subject.steps[step ?? -1];
  if (strategy === undefined || at?.kind !== "packet") return [];
  let cluster = resolvePolicies(subject.model);
  const lane = strategyLane(cluster, strategy, { walk: true });
  let own: readonly string[] = [];
  for (const one of subject.steps.slice(0, (step ?? 0) + 1)) {
    if (one.kind === "change") {
      cluster = resolvePolicies(one.model);
      lane.change(cluster);
      continue;
    }
    if (subject.fresh) lane.flush();
    const answer = lane.push(one.packet);
    const by = answer.by.kind === "fabric" ? answer.by.result.decidedBy : undefined;
    const decided = by === undefined ? "no rule decided" : `decided by ${JSON.stringify(by)}`;
    own = [decided, ...explain({ cluster, packet: one.packet, answer, strategy })];
  }
  const because = evaluate(cluster.model, at.packet).because;
  // Why somebody else says what it says is not known: those are the reasons of the API text, and only that.
  const theirs =
    against === REFERENCE
      ? because.map((line) => `${against} means ${expected}: ${line}`)
      : [`${against} means ${expected}`, ...because.map((line) => `the API text: ${line}`)];
  return [...own.map((line) => `${accused} says ${actual}: ${line}`), ...theirs];
}

/** The steps, the last packet with what was expected of it: `chainwalk test` fails as long as the two disagree. */
export function scenarioText(subject: FuzzCase, { accused, against, expected, step }: Disagreement): string {
  const until = step === undefined ? subject.steps : subject.steps.slice(0, step + 1);
  const before = verdictsBefore(subject, accused);
  let model = subject.model;
  const steps = until.flatMap((one, index): readonly object[] => {
    if (one.kind === "change") {
      const changes = changesBetween(model, one.model);
      model = one.model;
      return changes;
    }
    const last = index === until.length - 1;
    const wanted = expected ?? before[index];
    const expect = wanted === "reject" || wanted === "drop" ? wanted : "accept";
    // What went before is sent for its traces in connection tracking; any verdict will do.
    return [{ ...packetToObject(one.packet), expect: last ? expect : (before[index] ?? "accept") }];
  });
  const scenario = {
    description: `Found by the fuzzer: ${accused} and ${against} disagree about the last packet.`,
    only: { [accused]: "found under this strategy" },
    steps,
  };
  return `${JSON.stringify(scenario, undefined, 2)}\n`;
}

/** What the accused does with each packet, by step. */
function verdictsBefore(subject: FuzzCase, accused: string): readonly (string | undefined)[] {
  const strategy = strategyNamed(accused);
  if (strategy === undefined) return [];
  const lane = strategyLane(resolvePolicies(subject.model), strategy, {});
  return subject.steps.map((step) => {
    if (step.kind === "change") {
      lane.change(resolvePolicies(step.model));
      return undefined;
    }
    if (subject.fresh) lane.flush();
    return lane.push(step.packet).verdict;
  });
}

/** The steps of a scenario that turn one cluster into another. */
export function changesBetween(before: ClusterModel, after: ClusterModel): readonly object[] {
  const old = new Map(manifestsOf(before).map((manifest) => [objectName(manifest), manifest]));
  const now = new Map(manifestsOf(after).map((manifest) => [objectName(manifest), manifest]));
  const gone = [...old.keys()].filter((name) => !now.has(name));
  const come = [...now].filter(([name, manifest]) => JSON.stringify(old.get(name)) !== JSON.stringify(manifest));
  return [
    ...(gone.length > 0 ? [{ delete: gone }] : []),
    ...(come.length > 0 ? [{ apply: come.map(([, manifest]) => manifest) }] : []),
  ];
}

/** `NetworkPolicy default/db-policy`, as scenarios name objects. */
function objectName({ kind, metadata }: Manifest): string {
  const { namespace, name } = metadata as { readonly namespace?: string; readonly name: string }; // as write.ts makes it
  return `${String(kind)} ${namespace === undefined ? name : `${namespace}/${name}`}`;
}
