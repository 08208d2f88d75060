/** A case in which two disagree, made as small as it goes while they still do, and read back from its own text. */
import { loadCluster } from "../../compiler/compile.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { shrink } from "../kernel/shrink.ts";
import { cluster as settledCluster } from "./builders.ts";
import type { Disagreement, FuzzCase } from "./case.ts";
import { clusterText, type Finding, findingOf } from "./finding.ts";
import { smallerCases } from "./smaller.ts";

/** Holds the contest once more; undefined: they agree, or the case cannot be tried. */
export type Retry = (candidate: FuzzCase) => Promise<Disagreement | undefined>;

export interface MinimizeOptions {
  readonly retry: Retry;
  /** Cases to try. */
  readonly budget: number;
}

/**
 * Undefined: the disagreement is not there when the cluster is read from its manifests, so no user can meet it. What is
 * kept while shrinking is the verdict on both sides, not the cause, which has no name before the end.
 */
export async function minimize(
  suspect: FuzzCase,
  disagreement: Disagreement,
  { retry, budget }: MinimizeOptions,
): Promise<Finding | undefined> {
  const { step } = disagreement;
  const last = step === undefined ? undefined : suspect.steps[step];
  // Of first packets the one that differs is enough.
  const steps = last === undefined ? [] : suspect.fresh ? [last] : suspect.steps.slice(0, (step ?? 0) + 1);
  const start = fromText({ ...suspect, steps });
  if (start === undefined) return undefined;
  const same = async (candidate: FuzzCase) => {
    const read = fromText(candidate);
    const again = read && (await retry(read));
    return again !== undefined && isSame(again, disagreement, candidate) ? again : undefined;
  };
  if ((await same(start)) === undefined) return undefined;
  const smallest = await shrink(start, smallerCases, {
    stillFails: async (candidate) => (await same(candidate)) !== undefined,
    budget,
  });
  const final = await same(smallest);
  return final && findingOf(smallest, final);
}

/** About the last packet, with the same verdicts; or thrown as before. */
function isSame(again: Disagreement, before: Disagreement, { steps }: FuzzCase): boolean {
  if (before.thrown !== undefined) return again.thrown !== undefined;
  return again.step === steps.length - 1 && again.expected === before.expected && again.actual === before.actual;
}

/** The case as its files would be read: names, order and defaults as the loader has them. */
export function fromText(subject: FuzzCase): FuzzCase | undefined {
  const model = reread(subject.model);
  if (model === undefined) return undefined;
  const steps: FuzzCase["steps"][number][] = [];
  for (const step of subject.steps) {
    if (step.kind === "packet") steps.push(step);
    else {
      const changed = reread(step.model);
      if (changed === undefined) return undefined;
      steps.push({ kind: "change", model: changed });
    }
  }
  return { ...subject, model, steps };
}

function reread(model: ClusterModel): ClusterModel | undefined {
  return loadCluster([{ name: "cluster.yaml", text: clusterText(settledCluster(model)) }]).model;
}
