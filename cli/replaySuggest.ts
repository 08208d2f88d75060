/** `replay --suggest`: policies that let what was seen pass, tried out before they are shown. */
import { isOnPodNetwork } from "../compiler/model.ts";
import { VERDICT_CODE } from "../dataplane/verdict.ts";
import { counted } from "../format/replay/words.ts";
import type { FlowTable } from "../replay/flowTable.ts";
import { type FlowReport, isRefused, isWanted, type ReplayReport } from "../replay/report.ts";
import { loadSetup, type ReplaySetup } from "../replay/setup.ts";
import { type Helpless, Needs } from "../replay/suggest/needs.ts";
import { defaultDeny, type SuggestedPolicy, suggestPolicies } from "../replay/suggest/suggest.ts";
import { yamlLines } from "../replay/suggest/yaml.ts";
import { BATCH_ROWS } from "../traffic/source.ts";
import { EXIT, UsageError } from "./io.ts";
import type { ReplayFlags } from "./replayCommand.ts";
import { ReplayRun, type RunOptions } from "./replayRun.ts";
import type { Session } from "./session.ts";

export interface SuggestOptions {
  readonly traffic: readonly string[];
  readonly flags: ReplayFlags;
  readonly setup: ReplaySetup;
  readonly options: RunOptions;
}

export async function suggest({ traffic, flags, setup, options }: SuggestOptions, session: Session): Promise<void> {
  if (flags.output !== "table" && flags.output !== "json") {
    throw new UsageError("--suggest prints YAML, or with -o json an object");
  }
  const run = new ReplayRun(options);
  await run.read(traffic);
  if (session.io.interrupted.aborted) return;
  const { policies, needs } = policiesFor(run.report, flags);
  const trial =
    policies.length === 0
      ? NOTHING_TRIED
      : await tryOut({ policies, needs, traffic, setup, options: { ...options, ahead: run.ahead } });
  if (flags.output === "json") await session.out.line(JSON.stringify(jsonOf(policies, needs, trial)));
  else for (const line of yamlOf(policies)) await session.out.line(line);
  for (const line of said(policies, needs, trial)) await session.note(line);
  if (trial.stillRefused > 0 || trial.broken > 0) {
    await session.error(`the suggestion does not do: ${trialText(trial)}`);
    session.end(EXIT.findings);
  }
}

interface Suggestion {
  readonly policies: readonly SuggestedPolicy[];
  readonly needs: Needs;
}

function policiesFor(report: ReplayReport, flags: ReplayFlags): Suggestion {
  const side = report.options.sides[report.options.main];
  if (side === undefined) throw new RangeError("no main side");
  const { cluster } = side;
  const needs = new Needs(cluster);
  const isOfNamespace = ({ from, to }: FlowReport): boolean =>
    flags.namespace === undefined || [from, to].some((name) => name.startsWith(`${flags.namespace}/`));
  const isChange = report.options.main > 0;
  // What was refused before the change, or where it was recorded, was not meant to pass.
  const isMeant = (flow: FlowReport): boolean =>
    !flow.isRecordedDrop && (!isChange || flow.sides[0]?.verdict === "accept") && isOfNamespace(flow);
  const refused = [...report.flows()].some((flow) => isRefused(flow.main.verdict) && isMeant(flow));
  // To open a namespace that is closed takes few rules; to close one that is open is another wish.
  const isClosing = !isChange && (!refused || flags.namespace !== undefined);
  const open = isClosing ? openNamespaces(report, flags.namespace) : new Set<string>();
  for (const flow of report.flows()) {
    if (!isRefused(flow.main.verdict)) needs.addWanted(flow, open);
    else if (isMeant(flow)) needs.addRefused(flow, { number: report.options.table.firstIndex[flow.slot] ?? 0, open });
  }
  const taken = new Set(cluster.model.policies.map(({ key }) => key));
  const denials = [...open].sort().map((namespace) => defaultDeny(namespace, taken));
  return {
    policies: [
      ...denials,
      ...suggestPolicies({ subjects: needs.subjects.values(), seen: needs.seen.values() }, cluster, taken),
    ],
    needs,
  };
}

/** Kubernetes' own: it runs before anyone can write a policy, and breaks with the wrong one. Only when asked for by name. */
const SYSTEM = /^kube-/;

/** Namespaces with pods in the recording of which no policy selects a pod. */
function openNamespaces(report: ReplayReport, only: string | undefined): ReadonlySet<string> {
  const { sides, main } = report.options;
  const cluster = sides[main]?.cluster;
  if (cluster === undefined) return new Set();
  const guarded = new Set(
    cluster.policies.flatMap(({ policy, subjects }) => (subjects.length > 0 ? [policy.namespace] : [])),
  );
  const seen = new Set<string>();
  for (const { from, to } of report.flows()) for (const name of [from, to]) seen.add(name.split("/")[0] ?? "");
  const namespaces = new Set(cluster.model.endpoints.filter(isOnPodNetwork).map(({ namespace }) => namespace));
  return new Set(
    [...namespaces].filter(
      (name) => seen.has(name) && !guarded.has(name) && (only === undefined ? !SYSTEM.test(name) : name === only),
    ),
  );
}

interface Trial {
  /** Flows that rules were suggested for, and that pass with them. */
  readonly helped: number;
  readonly stillRefused: number;
  /** Flows that passed, and would not any more. */
  readonly broken: number;
  /** Flows that nobody asked for and that pass as well. */
  readonly opened: number;
}

const NOTHING_TRIED: Trial = { helped: 0, stillRefused: 0, broken: 0, opened: 0 };

interface TryOutOptions {
  readonly policies: readonly SuggestedPolicy[];
  readonly needs: Needs;
  readonly traffic: readonly string[];
  readonly setup: ReplaySetup;
  readonly options: RunOptions;
}

/** The recording once more, through the main side with and without the suggestion. */
async function tryOut({ policies, needs, traffic, setup, options }: TryOutOptions): Promise<Trial> {
  const side = setup.sides[setup.main];
  const cluster = setup.clusters[side?.cluster ?? 0];
  if (side === undefined || cluster === undefined) throw new RangeError("no main side");
  const added = [{ name: "suggested", text: yamlOf(policies).join("\n") }];
  const { saves: _saves, ...compiled } = side;
  // A real node's rules do not change by what is written here: the node compiled stands for it on both sides.
  const only = side.saves === undefined ? {} : { only: side.saves.node };
  const trial: ReplaySetup = {
    clusters: [cluster, { ...cluster, added }],
    sides: [
      { ...compiled, ...only, name: "without", cluster: 0 },
      { ...compiled, ...only, name: "with", cluster: 1 },
    ],
    main: 1,
  };
  const { loaded, issues } = loadSetup(trial, BATCH_ROWS);
  if (loaded === undefined)
    throw new Error(`the suggestion is no valid input: ${issues.map(({ message }) => message).join("; ")}`);
  const run = new ReplayRun({ ...options, setup: trial, loaded });
  await run.read(traffic);
  return trialOf(run.report.options.table, new Set(needs.targets));
}

function trialOf(table: FlowTable, targets: ReadonlySet<number>): Trial {
  let [helped, stillRefused, broken, opened] = [0, 0, 0, 0];
  const [without, withThem] = table.sides;
  for (const slot of table.ordered()) {
    if (!isWanted(table, slot)) continue;
    const passed = without?.verdict[slot] === VERDICT_CODE.accept;
    const passes = withThem?.verdict[slot] === VERDICT_CODE.accept;
    if (targets.has(table.firstIndex[slot] ?? -1)) {
      if (passes) helped++;
      else stillRefused++;
    } else if (passed && !passes) broken++;
    else if (!passed && passes) opened++;
  }
  return { helped, stillRefused, broken, opened };
}

function yamlOf(policies: readonly SuggestedPolicy[]): readonly string[] {
  return policies.flatMap(({ object, remarks }, index) => [
    ...(index > 0 ? ["---"] : []),
    ...remarks.map((remark) => `# ${remark}`),
    ...yamlLines(object),
  ]);
}

const WHY: Readonly<Record<Helpless, string>> = {
  protocol: "of protocols that a NetworkPolicy cannot name (it knows TCP, UDP and SCTP)",
  "start missing": "that begin before the recording, so that who opened them is not known",
  strategy: "that the solution refuses for reasons of its own: the API text lets them pass",
};

function said(policies: readonly SuggestedPolicy[], { helpless, targets }: Needs, trial: Trial): readonly string[] {
  const lines: string[] = [];
  const rules = policies.reduce((sum, policy) => sum + policy.rules, 0);
  if (policies.length === 0) lines.push("nothing to suggest: every flow that can be helped passes");
  else {
    const what = policies.length === 1 ? "1 policy" : `${policies.length} policies`;
    lines.push(
      `${what} with ${counted(rules, "rule")} for ${counted(targets.length, "refused flow")}; replayed with them: ${trialText(trial)}`,
    );
  }
  for (const [why, count] of helpless) lines.push(`no rule for ${counted(count, "flow")} ${WHY[why]}`);
  return lines;
}

function trialText({ helped, stillRefused, broken, opened }: Trial): string {
  const parts = [`${counted(helped, "refused flow")} ${helped === 1 ? "passes" : "pass"}`];
  if (stillRefused > 0) parts.push(`${stillRefused} still refused`);
  parts.push(broken === 0 ? "nothing that passed is refused" : `${counted(broken, "flow")} that passed refused`);
  if (opened > 0) parts.push(`${counted(opened, "other flow")} opened as well`);
  return parts.join(", ");
}

function jsonOf(policies: readonly SuggestedPolicy[], { helpless, targets }: Needs, trial: Trial): object {
  return {
    policies: policies.map(({ object }) => object),
    remarks: Object.fromEntries(policies.map(({ key, remarks }) => [key, remarks])),
    rules: policies.reduce((sum, { rules }) => sum + rules, 0),
    refusedFlows: targets.length,
    verified: trial,
    notCovered: Object.fromEntries(helpless),
  };
}
