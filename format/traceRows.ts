/** The lines of one node's walk, as cells: mark, chain, number, condition, action, origin. */
import type { IPSet, Program } from "../dataplane/program.ts";
import type { Decision, Hop } from "../dataplane/result.ts";
import { hexOf, type TraceStep } from "../dataplane/trace.ts";
import type { CtState, Verdict } from "../dataplane/verdict.ts";
import { type Cell, cut } from "./columns.ts";
import { commentOf, conditions, formatMatch, formatTarget, isBuiltInChain, type Shorten, whyNot } from "./match.ts";
import type { TraceView } from "./trace.ts";

/** The columns that give way on narrow terminals: condition, action, origin. */
export const ELASTIC_COLUMNS = [3, 4, 5] as const;

type RuleStep = Extract<TraceStep, { kind: "rule" }>;
type LookupStep = Extract<TraceStep, { kind: "lookup" }>;
type ChainEndStep = Extract<TraceStep, { kind: "chainEnd" }>;

/** How much of a walk is shown (`TraceStyle`). */
export type TraceLevel = "shortest" | "summary" | "detailed";

/** The rows of a node. In a summary: what matched, and the rules of policies whose failing refused the packet. */
export function rowsOfHop(view: TraceView, hop: Hop, level: TraceLevel): readonly (readonly Cell[])[] {
  const steps = view.steps.filter((step) => step.node === hop.node);
  const lines = linesOfHop(view, hop, steps, level);
  return lines.flatMap((line, index) => cellsOf(line, lines[index - 1]));
}

function linesOfHop(view: TraceView, hop: Hop, steps: readonly TraceStep[], level: TraceLevel): readonly Line[] {
  if (level === "detailed") return detailedLines(view, hop, steps);
  const lines = summaryLines(view, hop, steps);
  return level === "summary" ? lines : lines.filter(isTelling);
}

/** What explains a verdict: the line that decided, the rules that would have allowed it, those of policies that did. */
function isTelling({ kind, origin, isWay }: Line): boolean {
  return kind === "decided" || kind === "failed" || (origin !== undefined && isWay !== true);
}

/** What one line of a walk says. */
export interface Line {
  readonly chain: string;
  readonly number?: string;
  readonly conditions: readonly string[];
  readonly action: string;
  readonly origin?: string | undefined;
  /** `decided`: the line that decided; `failed`: did not match, the eye may skip it. */
  readonly kind: "matched" | "failed" | "decided";
  readonly verdict: Verdict;
  /** It only leads to another chain. */
  readonly isWay?: boolean;
}

/** Wider conditions go on in lines of their own, so that one rule with many matches does not widen the whole picture. */
const CONDITION_WIDTH = 36;

/** One row, or several when the conditions need them. A chain is named where it is entered, not in each of its lines. */
function cellsOf(line: Line, before: Line | undefined): readonly (readonly Cell[])[] {
  const look = lookOf(line);
  const isRepeated = before?.chain === line.chain && line.kind !== "decided";
  const [first = "", ...rest] = wrap(line.conditions);
  return [
    [
      { text: line.kind === "decided" ? "►" : " ", ...look },
      { text: isRepeated ? "" : line.chain, ...look },
      { text: line.number ?? "", align: "right", ...look },
      { text: first, ...look },
      { text: line.action, ...look },
      { text: line.origin ?? "", ...look },
    ],
    ...rest.map((text) => [{ text: "" }, { text: "" }, { text: "" }, { text, ...look }]),
  ];
}

/** Conditions joined by commas, in as many lines as it takes. */
function wrap(conditions: readonly string[]): readonly string[] {
  const lines: string[] = [];
  for (const condition of conditions) {
    const last = lines.at(-1);
    const joined = `${last}, ${condition}`;
    if (last !== undefined && joined.length <= CONDITION_WIDTH) lines[lines.length - 1] = joined;
    else lines.push(condition);
  }
  return lines;
}

function lookOf({ kind, verdict }: Line): Pick<Cell, "look"> {
  switch (kind) {
    case "matched":
      return {};
    case "failed":
      return { look: "faint" };
    case "decided":
      return { look: verdict === "accept" ? "good" : "bad" };
  }
}

/** What a line needs to know beside its own step. */
interface Context {
  readonly view: TraceView;
  readonly hop: Hop;
  readonly sets: ReadonlyMap<string, IPSet>;
  readonly ctState: CtState;
  readonly shorten: Shorten;
}

function contextOf(view: TraceView, hop: Hop, shorten: Shorten): Context {
  return { view, hop, sets: setsOf(view.programs, hop.node), ctState: hop.ctState, shorten };
}

function setsOf(programs: readonly Program[], node: string): ReadonlyMap<string, IPSet> {
  const program = programs.find((candidate) => candidate.node === node);
  return new Map(program?.kind === "tables" ? program.sets.map((set) => [set.name, set]) : []);
}

function detailedLines(view: TraceView, hop: Hop, steps: readonly TraceStep[]): readonly Line[] {
  return detailedSteps(view, hop, steps).map(({ line }) => line);
}

/** The steps of one hop, each beside what it says; for who draws a walk otherwise than in rows. */
export function detailedSteps(
  view: TraceView,
  hop: Hop,
  steps: readonly TraceStep[],
): readonly { readonly step: TraceStep; readonly line: Line }[] {
  const context = contextOf(view, hop, (name) => name);
  return steps.flatMap((step, index) =>
    detailedStep(context, step, isLastLookup(steps, index)).map((line) => ({ step, line })),
  );
}

function detailedStep(context: Context, step: TraceStep, isLast: boolean): readonly Line[] {
  switch (step.kind) {
    case "conntrack":
      return [plainLine(context.hop, "conntrack", step.why, step.state)];
    case "rule":
      return [step.failed === undefined ? matchedLine(context, step) : failedLine(context, step)];
    case "chainEnd":
      return [chainEndLine(context, step)];
    case "lookup":
      return [lookupLine(context, step, isLast)];
    case "verdict":
      return [];
  }
}

function summaryLines(view: TraceView, hop: Hop, steps: readonly TraceStep[]): readonly Line[] {
  const context = contextOf(view, hop, shortenerFor(view.steps));
  const telling = hop.verdict === "accept" ? new Set<TraceStep>() : tellingFailures(view, steps);
  const lines: Line[] = [];
  for (const [index, step] of steps.entries()) {
    switch (step.kind) {
      case "rule":
        if (telling.has(step)) lines.push(failedLine(context, step));
        if (step.failed === undefined && !isOnlyLogging(step)) addMatched(lines, context, step);
        break;
      case "chainEnd":
        if (decides(context, step)) lines.push(chainEndLine(context, step));
        break;
      case "lookup":
        lines.push(lookupLine(context, step, isLastLookup(steps, index)));
        break;
      case "conntrack":
      case "verdict":
        break;
    }
  }
  return lines;
}

/** Rules that count or log say nothing about the packet's way. */
function isOnlyLogging({ rule: { target } }: RuleStep): boolean {
  return target === undefined || target.kind === "log";
}

/**
 * Some solutions need two rules to say "mark, then leave the chain". The second adds nothing for a reader when it comes
 * right after the first and from the same line of a policy: one line then stands for both.
 */
function addMatched(lines: Line[], context: Context, step: RuleStep): void {
  const line = matchedLine(context, step);
  const before = lines.at(-1);
  const twin =
    before !== undefined &&
    before.kind === "matched" &&
    line.kind === "matched" &&
    line.origin !== undefined &&
    before.origin === line.origin &&
    before.chain === line.chain &&
    Number(before.number) + 1 === Number(line.number) &&
    step.rule.target?.kind === "return";
  if (twin)
    lines[lines.length - 1] = {
      ...before,
      number: `${before.number}-${line.number}`,
      action: `${before.action}, return`,
    };
  else lines.push(line);
}

function matchedLine(context: Context, step: RuleStep): Line {
  const { hop, shorten } = context;
  const words = conditions(step.rule, shorten);
  return {
    chain: chainText(context, step),
    number: String(step.number),
    conditions: words.length === 0 ? ["always"] : words,
    action: formatTarget(step.rule.target, step.mark, shorten),
    origin: originText(context, step),
    kind: decides(context, step) ? "decided" : "matched",
    verdict: hop.verdict,
    isWay: step.rule.target?.kind === "jump" || step.rule.target?.kind === "goto",
  };
}

function originText({ view }: Context, { rule }: RuleStep): string | undefined {
  return view.origins === "comments" ? commentOf(rule) : rule.origin;
}

function failedLine(context: Context, step: RuleStep): Line {
  const { hop, shorten, sets, ctState, view } = context;
  const failed = step.failed;
  if (failed === undefined) throw new Error(`rule ${step.chain} ${step.number} did not fail`);
  const situation = { packet: view.packet, mark: step.mark, ctState, sets };
  return {
    chain: chainText(context, step),
    number: String(step.number),
    conditions: [formatMatch(failed, shorten)],
    action: `× ${whyNot(failed, situation)}`,
    origin: originText(context, step),
    kind: "failed",
    verdict: hop.verdict,
  };
}

function chainEndLine(context: Context, step: ChainEndStep): Line {
  return {
    chain: chainText(context, step),
    number: String(step.number),
    conditions: ["end of chain"],
    action: step.policy === undefined ? "return" : `policy ${step.policy}`,
    kind: decides(context, step) ? "decided" : step.policy === undefined ? "failed" : "matched",
    verdict: context.hop.verdict,
  };
}

/** A look-up that found something says what that means; one that did not says what it asked for. */
function lookupLine({ hop }: Context, step: LookupStep, isLast: boolean): Line {
  const found = step.value !== undefined;
  return {
    chain: step.map,
    conditions: [found ? step.meaning : `key ${cut(hexOf(step.key), KEY_CHARACTERS)}`],
    action: found ? "found" : "× no entry",
    origin: step.origin,
    kind: isLast && hop.decidedBy?.kind === "map" ? "decided" : found ? "matched" : "failed",
    verdict: hop.verdict,
  };
}

/** The beginning of a key is its endpoint, identity and port; the rest of a long one is padding or address. */
const KEY_CHARACTERS = 32;

function plainLine(hop: Hop, chain: string, condition: string, action: string): Line {
  return { chain, conditions: [condition], action, kind: "matched", verdict: hop.verdict };
}

/** The map that decided is the last one looked up under its name. */
function isLastLookup(steps: readonly TraceStep[], index: number): boolean {
  return !steps.slice(index + 1).some((step) => step.kind === "lookup");
}

/** Built-in chains exist in several tables, so theirs is named. */
function chainText({ shorten }: Context, step: RuleStep | ChainEndStep): string {
  return isBuiltInChain(step.chain) ? `${step.table} ${step.chain}` : shorten(step.chain);
}

/** Whether the step is what the node's verdict hangs on, here or in an earlier hop of the way. */
function decides({ hop }: Context, step: RuleStep | ChainEndStep): boolean {
  return hop.decidedBy !== undefined && isDecision(hop.decidedBy, step);
}

/** Whether the step is the rule, or the end of the chain, that decided. */
export function isDecision(decision: Decision, step: RuleStep | ChainEndStep): boolean {
  return (
    decision.kind === "rule" &&
    decision.table === step.table &&
    decision.chain === step.chain &&
    decision.rule === step.number
  );
}

/** More lines of failing rules than this hide the walk; `detailed` has them all. */
const MAX_FAILURES = 12;

/**
 * The rules whose failing refused the packet: those that come from a policy's rules for the direction in which it was
 * refused, once for each line of a policy and reason. An imported program knows no policies; there, rules that failed on
 * a set stand for them.
 */
function tellingFailures({ refused }: TraceView, steps: readonly TraceStep[]): ReadonlySet<TraceStep> {
  const telling = new Map<string, TraceStep>();
  for (const step of steps) {
    if (step.kind !== "rule" || step.failed === undefined) continue;
    const { origin } = step.rule;
    const isTelling =
      origin === undefined
        ? step.failed.kind === "set"
        : refused.some((direction) => origin.includes(` ${direction}[`));
    if (!isTelling) continue;
    const key = `${step.chain} ${origin} ${formatMatch(step.failed, (name) => name)}`;
    if (!telling.has(key)) telling.set(key, step);
    if (telling.size === MAX_FAILURES) break;
  }
  return new Set(telling.values());
}

/** Chain and set names end in hashes; this many characters tell the names of one walk apart and keep lines short. */
const SHORT_NAME = 20;

/** Cuts long names, except where two names of the walk would become one. */
function shortenerFor(steps: readonly TraceStep[]): Shorten {
  const names = new Set<string>();
  for (const step of steps) {
    if (step.kind === "rule" || step.kind === "chainEnd") names.add(step.chain);
    if (step.kind !== "rule") continue;
    const { target } = step.rule;
    if (target?.kind === "jump" || target?.kind === "goto") names.add(target.chain);
    for (const match of step.rule.matches) if (match.kind === "set") names.add(match.set);
  }
  const cut = (name: string) => (name.length <= SHORT_NAME ? name : `${name.slice(0, SHORT_NAME - 1)}…`);
  const owners = new Map<string, string | undefined>();
  for (const name of names) owners.set(cut(name), owners.has(cut(name)) ? undefined : name);
  return (name) => (owners.get(cut(name)) === name ? cut(name) : name);
}
