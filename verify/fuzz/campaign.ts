/**
 * One job's share of a campaign: inputs from its targets in turn, and of what they turn up the least of each cause. All it
 * tells is plain data, so that a job may live in a thread of its own.
 */
import { STRATEGIES, strategyNamed } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { Random } from "../kernel/random.ts";
import { REFERENCE } from "../lane.ts";
import { ClusterTarget, contestsOf } from "./clusterTarget.ts";
import { type Against, FreshCourt, Trial } from "./contest.ts";
import { type CorpusFile, clusterFromFile } from "./corpus.ts";
import { Coverage } from "./coverage.ts";
import { findingFiles } from "./finding.ts";
import { minimize } from "./minimize.ts";
import type { FuzzTarget, Suspect } from "./target.ts";

/** What a job is told; plain data. */
export interface CampaignSettings {
  readonly seed: number;
  /** From 0: each draws differently. */
  readonly job: number;
  /** Runs that earlier sessions of the campaign made: draws begin elsewhere. */
  readonly offset: number;
  readonly strategies: readonly string[];
  /** `reference`, `import`, or the name of a strategy. */
  readonly against: readonly string[];
  readonly targets: readonly string[];
  /** What earlier sessions found: features, and causes that need no second finding. */
  readonly features: readonly number[];
  readonly causes: readonly string[];
}

/** What a job tells; plain data. */
export type JobReport =
  | { readonly kind: "ran"; readonly runs: number }
  | { readonly kind: "kept"; readonly files: readonly CorpusFile[]; readonly features: readonly number[] }
  | { readonly kind: "finding"; readonly finding: FindingText };

export interface FindingText {
  /** The folder's name. */
  readonly name: string;
  readonly cause: string;
  readonly accused: string;
  readonly against: string;
  /** `verdict`: a scenario shows it; `thrown`: compiling does; on this node. */
  readonly shows: "verdict" | "thrown";
  readonly node: string;
  readonly files: readonly CorpusFile[];
}

/** Of suspects that look alike so many are made small; more would say the same. */
const MOST_ALIKE = 3;

/** Cases tried to make one finding smaller. */
const SHRINK_BUDGET = 1_500;

export class Campaign {
  readonly #coverage: Coverage;
  readonly #target: ClusterTarget;
  readonly #targets: readonly FuzzTarget[];
  readonly #alike = new Map<string, number>();
  readonly #causes: Set<string>;
  readonly #court = new FreshCourt();
  #turn = 0;

  constructor(settings: CampaignSettings) {
    this.#coverage = new Coverage(settings.features);
    this.#causes = new Set(settings.causes);
    const random = new Random(seedOf(settings));
    const contests = contestsOf(settings.strategies.map(known), settings.against.map(againstOf));
    this.#target = new ClusterTarget({ random, contests, coverage: this.#coverage });
    this.#targets = [this.#target];
  }

  /** Kept by another job, or before. */
  learn(files: readonly CorpusFile[], features: readonly number[]): void {
    for (const feature of features) this.#coverage.add(feature);
    this.#coverage.take();
    for (const file of files) {
      if (!file.path.endsWith(".yaml")) continue;
      const model = clusterFromFile(file);
      if (model !== undefined) this.#target.corpus.add(model);
    }
  }

  async step(): Promise<readonly JobReport[]> {
    const target = this.#targets[this.#turn++ % this.#targets.length];
    if (target === undefined) throw new Error("a campaign without targets");
    const reports: JobReport[] = [];
    const events = target.step();
    for (const event of events instanceof Promise ? await events : events) {
      switch (event.kind) {
        case "ran":
          reports.push(event);
          break;
        case "kept":
          reports.push({ kind: "kept", files: event.files, features: this.#coverage.added() });
          break;
        case "suspect": {
          const finding = await this.#examine(event.suspect);
          if (finding !== undefined) reports.push({ kind: "finding", finding });
          break;
        }
      }
    }
    return reports;
  }

  /** The least case of the suspect's cause; undefined when the cause is known, or the suspect does not stand. */
  async #examine(suspect: Suspect): Promise<FindingText | undefined> {
    const alike = this.#alike.get(suspect.rough) ?? 0;
    if (alike >= MOST_ALIKE) return undefined;
    this.#alike.set(suspect.rough, alike + 1);
    const { contest } = suspect;
    const finding = await minimize(suspect.case, suspect.disagreement, {
      retry: async (candidate) => this.#court.hold(contest, new Trial(candidate)),
      budget: SHRINK_BUDGET,
    });
    if (finding === undefined || this.#causes.has(finding.cause)) return undefined;
    this.#causes.add(finding.cause);
    const { accused, against, thrown } = finding.disagreement;
    return {
      name: finding.name,
      cause: finding.cause,
      accused,
      against,
      shows: thrown === undefined ? "verdict" : "thrown",
      node: finding.case.model.nodes[0]?.name ?? "",
      files: Object.entries(findingFiles(finding)).map(([path, text]) => ({ path, text })),
    };
  }
}

/** Knuth's multiplicative constant keeps jobs and sessions of one seed apart. */
function seedOf({ seed, job, offset }: CampaignSettings): number {
  return (seed + Math.imul(job * 1_000_003 + offset, 0x9e3779b1)) | 0;
}

function known(name: string): Strategy {
  const strategy = strategyNamed(name);
  if (strategy === undefined)
    throw new Error(`no strategy ${name}; there are ${STRATEGIES.map((one) => one.name).join(", ")}`);
  return strategy;
}

function againstOf(name: string): Against {
  if (name === REFERENCE) return { kind: "reference" };
  if (name === "import") return { kind: "import" };
  return { kind: "strategy", strategy: known(name) };
}
