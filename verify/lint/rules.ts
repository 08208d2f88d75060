/** Findings about rules of chains that no packet can match: those of compiled programs that a policy is behind, all of a node's own. */
import type { SourceRef } from "../../compiler/issue.ts";
import type { NetworkPolicy } from "../../compiler/model.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { Rule, TableProgram } from "../../dataplane/program.ts";
import { type DeadRule, deadRules } from "./deadRules.ts";
import { finding, type LintFinding } from "./finding.ts";

export interface RuleFindings {
  readonly findings: readonly LintFinding[];
  /** Programs that were not looked at. */
  readonly gaps: readonly string[];
}

/** What stands behind a rule, and where. */
interface Behind {
  readonly source: SourceRef;
  readonly path: string;
}

export function lintCompiledRules(cluster: ResolvedCluster, strategy: Strategy): RuleFindings {
  const gaps: string[] = [];
  /** Of what some rule somewhere matches; that one on another node does not is how rules are spread over nodes. */
  const alive = new Set<string>();
  const nodesBy = new Map<string, { readonly dead: DeadRule; readonly behind: Behind; readonly nodes: string[] }>();
  for (const { name: node } of cluster.model.nodes) {
    const program = strategy.lower(cluster, { node });
    if (program.kind !== "tables") continue;
    const found = deadRules(program);
    if (found === undefined) gaps.push(tooLarge(strategy.name, node));
    const gone = new Set(found?.flatMap(({ rule }) => rule ?? []));
    const unentered = new Set(found?.flatMap(({ number, chain }) => (number === 0 ? [chain] : [])));
    for (const { name, rules } of program.families.flatMap(({ tables }) => tables.flatMap(({ chains }) => chains))) {
      if (unentered.has(name)) continue;
      for (const rule of rules) if (rule.origin !== undefined && !gone.has(rule)) alive.add(rule.origin);
    }
    for (const dead of found ?? []) {
      // A chain that nothing enters is that of a policy without pods on this node.
      const behind = dead.rule?.origin === undefined ? undefined : behindOrigin(cluster, dead.rule.origin);
      if (behind === undefined) continue;
      const key = `${dead.family} ${dead.table} ${dead.chain} ${dead.number} ${dead.why} ${behind.path}`;
      const known = nodesBy.get(key) ?? { dead, behind, nodes: [] };
      nodesBy.set(key, known);
      known.nodes.push(node);
    }
  }
  const told = [...nodesBy.values()].filter(({ dead }) => dead.isShadowed || !alive.has(dead.rule?.origin ?? ""));
  const findings = told.map(({ dead, behind, nodes }) => {
    const message = `${strategy.name} on ${nodes.join(", ")}: ${deadText(dead)}`;
    return finding("dead-rule", behind.source, { path: behind.path, message });
  });
  return { findings, gaps };
}

/** The saves that a node's program was read from, by family. */
export type SaveTexts = Readonly<Partial<Record<4 | 6, { readonly name: string; readonly text: string }>>>;

export function lintImportedRules(cluster: ResolvedCluster, program: TableProgram, saves: SaveTexts): RuleFindings {
  const found = deadRules(program);
  if (found === undefined) return { findings: [], gaps: [tooLarge("the saves", program.node)] };
  const findings = found.map((dead) => {
    const behind = dead.rule === undefined ? undefined : behindComment(cluster, dead.rule);
    const place = placeIn(saves, dead);
    const where = behind === undefined ? "" : ` (${place.file}:${place.line})`;
    const message = `${program.node}: ${deadText(dead)}${where}`;
    return finding("dead-rule", behind?.source ?? place, {
      path: behind?.path ?? `${dead.table} ${dead.chain}${dead.number === 0 ? "" : ` ${dead.number}`}`,
      message,
    });
  });
  return { findings, gaps: [] };
}

function tooLarge(who: string, node: string): string {
  return `rules of ${who} on ${node}: there are too many`;
}

function deadText({ family, table, chain, number, why }: DeadRule): string {
  const what = number === 0 ? "chain" : `rule ${number} of`;
  return `IPv${family} ${what} ${table} ${chain} can never match: ${why}`;
}

const ORIGIN = /^(\S+) (ingress|egress)\[(\d+)\](?:\.(from|to|ports)\[(\d+)\])?/;

/** `default/db-policy ingress[0].from[1]`: as strategies name what caused a rule. */
function behindOrigin({ policies }: ResolvedCluster, origin: string): Behind | undefined {
  const [, key, direction, ruleText, list, itemText] = ORIGIN.exec(origin) ?? [];
  const found = policies.find(({ policy }) => policy.key === (key ?? origin.split(/[ ,]/)[0]));
  if (found === undefined) return undefined;
  const { policy } = found;
  if (direction !== "ingress" && direction !== "egress") return { source: policy.source, path: "spec" };
  const rule = policy[direction][Number(ruleText)];
  if (rule === undefined) return { source: policy.source, path: `spec.${direction}` };
  const path = `spec.${direction}[${ruleText}]`;
  const items = list === undefined ? [] : list === "ports" ? rule.ports : rule.peers;
  const item = items[Number(itemText)];
  return item === undefined
    ? { source: rule.source, path }
    : { source: item.source, path: `${path}.${list}[${itemText}]` };
}

/** A node's own rules have comments: a policy stands behind one that names both its name and its namespace. */
function behindComment({ policies }: ResolvedCluster, { matches }: Rule): Behind | undefined {
  const words = matches.flatMap((match) => (match.kind === "comment" ? match.text.split(/[^A-Za-z0-9.-]+/) : []));
  const isNamed = ({ name, namespace }: NetworkPolicy) => words.includes(name) && words.includes(namespace);
  const found = policies.find(({ policy }) => isNamed(policy));
  return found === undefined ? undefined : { source: found.policy.source, path: "spec" };
}

/** The line of the rule, or of the chain. */
function placeIn(saves: SaveTexts, { family, table, chain, number }: DeadRule): SourceRef {
  const save = saves[family];
  let here = "";
  let count = 0;
  for (const [index, line] of (save?.text.split("\n") ?? []).entries()) {
    if (line.startsWith("*")) here = line.slice(1).trim();
    if (here !== table) continue;
    const isRule = line.replace(/^\[\d+:\d+\] /, "").startsWith(`-A ${chain} `);
    if (isRule) count++;
    if (number === 0 ? line.startsWith(`:${chain} `) : isRule && count === number) {
      return { file: save?.name ?? "", line: index + 1, column: 1 };
    }
  }
  return { file: save?.name ?? "", line: 0, column: 0 };
}
