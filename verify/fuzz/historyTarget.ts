/** Random histories for the fuzzer. */
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import type { Random } from "../kernel/random.ts";
import type { FuzzCase } from "./case.ts";
import { roughCause } from "./cause.ts";
import { thrownBy } from "./contest.ts";
import type { ClusterCorpus, CorpusFile } from "./corpus.ts";
import type { Coverage } from "./coverage.ts";
import { clusterText, contentName, scenarioText } from "./finding.ts";
import { drawHistory, holdHistory } from "./history.ts";
import { type Parts, partsFrom } from "./parts.ts";
import type { FuzzEvent, FuzzTarget } from "./target.ts";

export interface HistoryTargetOptions {
  readonly random: Random;
  readonly accused: readonly Strategy[];
  readonly coverage: Coverage;
  /** Histories begin with clusters of it. */
  readonly corpus: ClusterCorpus;
}

export class HistoryTarget implements FuzzTarget {
  readonly name = "histories";
  readonly #options: HistoryTargetOptions;
  readonly #parts: Parts;

  constructor(options: HistoryTargetOptions) {
    this.#options = options;
    this.#parts = partsFrom(options.random);
  }

  step(): readonly FuzzEvent[] {
    const { random, accused, coverage, corpus } = this.#options;
    const model = random.oneIn(2) ? this.#parts.cluster() : (corpus.pick(random) ?? this.#parts.cluster());
    const subject = drawHistory(model, { random, parts: this.#parts });
    const events: FuzzEvent[] = [{ kind: "ran", runs: accused.length }];
    for (const strategy of accused) {
      const disagreement = tryHistory(strategy, subject, coverage);
      if (disagreement === undefined) continue;
      const contest = { accused: strategy, against: { kind: "reference" } } as const;
      const rough = `history ${roughCause(disagreement, [])}`;
      events.push({ kind: "suspect", suspect: { case: subject, contest, disagreement, rough } });
    }
    const [first] = accused;
    if (coverage.take() > 0 && first !== undefined && subject.steps.length > 0) {
      events.push({ kind: "kept", files: historyFiles(subject, first.name) });
    }
    return events;
  }
}

export function tryHistory(strategy: Strategy, subject: FuzzCase, coverage?: Coverage) {
  try {
    return holdHistory(strategy, subject, coverage);
  } catch (error) {
    return thrownBy({ accused: strategy.name, against: "reference" }, error);
  }
}

/** A scenario folder that says what the strategy does. */
function historyFiles(subject: FuzzCase, accused: string): readonly CorpusFile[] {
  const none = { expected: undefined, actual: undefined, thrown: undefined, step: undefined };
  const manifests = clusterText(subject.model);
  const scenario = scenarioText(subject, { accused, against: "reference", ...none });
  const folder = `histories/${contentName(manifests + scenario)}`;
  return [
    { path: `${folder}/cluster.yaml`, content: manifests },
    { path: `${folder}/scenario.yaml`, content: scenario },
  ];
}
