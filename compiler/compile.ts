/** The pipeline in one screen: manifests -> ClusterModel -> ResolvedCluster -> Program. */
import type { Program } from "../dataplane/program.ts";
import { BeyondCapacity, filledBeyond } from "./capacity.ts";
import { hasErrors, type Issue } from "./issue.ts";
import { applyDefaults } from "./manifest/defaults.ts";
import { type ParsedManifests, parseManifests } from "./manifest/objects.ts";
import type { ManifestFile } from "./manifest/parse.ts";
import { validateCluster } from "./manifest/validate.ts";
import type { ClusterModel } from "./model.ts";
import { type ResolvedCluster, resolvePolicies } from "./resolve.ts";
import type { LowerOptions, Strategy } from "./strategies/strategy.ts";
import { verifyProgram } from "./verify.ts";

export interface LoadedCluster {
  /** Undefined when an issue is an error. */
  readonly model: ClusterModel | undefined;
  readonly issues: readonly Issue[];
  /** Objects of other kinds, by `apiVersion kind`. */
  readonly skipped: ReadonlyMap<string, number>;
}

/** parse -> default -> validate. Never throws on user input. */
export function loadCluster(files: readonly ManifestFile[]): LoadedCluster {
  return loadObjects(parseManifests(files));
}

/** default -> validate, for objects that come from elsewhere or were changed since they were parsed. */
export function loadObjects(parsed: ParsedManifests): LoadedCluster {
  const defaulted = applyDefaults(parsed);
  const { model, issues } = validateCluster(defaulted);
  return { model: hasErrors(issues) ? undefined : model, issues, skipped: parsed.skipped };
}

/** resolve -> lower -> verify, for one node. Throws `BeyondCapacity`; anything else is a broken invariant of ours. */
export function compileNode(cluster: ResolvedCluster, strategy: Strategy, options: LowerOptions): Program {
  const program = strategy.lower(cluster, options);
  const filled = filledBeyond(program, 1);
  if (filled.length > 0) throw new BeyondCapacity(program, filled);
  const problems = verifyProgram(program);
  if (problems.length > 0) {
    throw new Error(`${strategy.name} emitted an illegal program for ${options.node}: ${problems.join("; ")}`);
  }
  return program;
}

export { resolvePolicies };
