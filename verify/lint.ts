/**
 * lint: what is valid and yet not what anybody means. Rules that cannot match, policies that change nothing, peers that
 * others contain, exceptions that others reopen, ports nobody listens on, maps about to be full. All of it follows from
 * the same classes of packets as the proof, so "changes nothing" is about every packet, not about a sample.
 *
 * It speaks of the API text. That a solution reads some policy otherwise is its deviation's business.
 */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Strategy } from "../compiler/strategies/strategy.ts";
import type { TableProgram } from "../dataplane/program.ts";
import { Universe } from "./lint/allowed.ts";
import { lintCapacity } from "./lint/capacity.ts";
import type { LintFinding } from "./lint/finding.ts";
import { lintPeers } from "./lint/peers.ts";
import { lintPorts } from "./lint/ports.ts";
import { lintRedundancy } from "./lint/redundancy.ts";
import { lintCompiledRules, lintImportedRules, type SaveTexts } from "./lint/rules.ts";

export interface LintOptions {
  /** Whose maps and sets are looked at. */
  readonly strategies: readonly Strategy[];
  /** Whether the rules of their chains are looked at, too. */
  readonly rules?: boolean;
}

export interface LintReport {
  /** In order of file, line and column. */
  readonly findings: readonly LintFinding[];
  /** What was left out, and why; empty: nothing. */
  readonly gaps: readonly string[];
}

export function lintCluster(cluster: ResolvedCluster, { strategies, rules = false }: LintOptions): LintReport {
  const universe = new Universe(cluster);
  const { findings, gaps } = lintRedundancy(cluster, universe);
  const emitted = rules ? strategies.map((strategy) => lintCompiledRules(cluster, strategy)) : [];
  const all = [
    ...lintPeers(cluster, universe),
    ...lintPorts(cluster),
    ...findings,
    ...strategies.flatMap((strategy) => lintCapacity(cluster, strategy)),
    ...emitted.flatMap((one) => one.findings),
  ];
  return { findings: all.sort(byPlace), gaps: [...gaps, ...emitted.flatMap((one) => one.gaps)] };
}

/** The rules of a real node, as its saves have them. */
export function lintNode(cluster: ResolvedCluster, program: TableProgram, saves: SaveTexts): LintReport {
  const { findings, gaps } = lintImportedRules(cluster, program, saves);
  return { findings: [...findings].sort(byPlace), gaps };
}

function byPlace(a: LintFinding, b: LintFinding): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return a.line - b.line || a.column - b.column;
}
