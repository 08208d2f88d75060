/**
 * One job's share of a campaign: inputs from its targets in turn, and of what they turn up the least of each cause. All it
 * tells is plain data, so that a job may live in a thread of its own.
 */
import { STRATEGIES, strategyNamed } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { Random } from "../kernel/random.ts";
import { REFERENCE } from "../lane.ts";
import type { Disagreement, FuzzCase } from "./case.ts";
import { ClusterTarget, contestsOf } from "./clusterTarget.ts";
import { connectionText, readConnection } from "./connectionFile.ts";
import { CONNECTIONS, ConnectionTarget, type LeastConnection } from "./connectionTarget.ts";
import { type Against, type Contest, FreshCourt, type Outsider, Trial } from "./contest.ts";
import { type CorpusFile, clusterFromFile } from "./corpus.ts";
import { Coverage } from "./coverage.ts";
import { contentName, type Finding, findingFiles } from "./finding.ts";
import { FORMATS, formatNamed } from "./formats.ts";
import { HistoryTarget, tryHistory } from "./historyTarget.ts";
import { InputTarget, type Meter } from "./inputTarget.ts";
import { LabelTarget } from "./labelTarget.ts";
import { minimize } from "./minimize.ts";
import { partsFrom } from "./parts.ts";
import type { FuzzEvent, FuzzTarget, Suspect } from "./target.ts";

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

/** What a campaign has from the command line. */
export interface Surroundings {
  readonly meter: Meter;
  /** The outsider of that name; undefined: none has it. */
  hire(name: string): Outsider | undefined;
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
  /**
   * `verdict`: a scenario shows it; `thrown`: compiling on this node does; `input`: a reader of the format does;
   * `connection`: a conversation.
   */
  readonly shows: "verdict" | "thrown" | "input" | "connection";
  readonly node: string;
  readonly files: readonly CorpusFile[];
}

/** Of suspects that look alike so many are made small; more would say the same. */
const MOST_ALIKE = 3;

/** Cases tried to make one finding smaller. */
export const SHRINK_BUDGET = 1_500;
/** An outsider is started anew for each. */
const OUTSIDE_BUDGET = 120;

export class Campaign {
  readonly #coverage: Coverage;
  readonly #clusters: ClusterTarget;
  readonly #connections: ConnectionTarget;
  readonly #inputs: readonly InputTarget[];
  readonly #targets: readonly FuzzTarget[];
  readonly #alike = new Map<string, number>();
  readonly #causes: Set<string>;
  readonly #court = new FreshCourt();
  #turn = 0;

  constructor(settings: CampaignSettings, { meter, hire }: Surroundings) {
    this.#coverage = new Coverage(settings.features);
    this.#causes = new Set(settings.causes);
    const random = new Random(seedOf(settings));
    const contests = contestsOf(
      settings.strategies.map(known),
      settings.against.map((name) => againstOf(name, hire)),
    );
    this.#clusters = new ClusterTarget({ random, contests, coverage: this.#coverage });
    const labels = new LabelTarget({
      random,
      contests,
      coverage: this.#coverage,
    });
    const source = { random, parts: partsFrom(random) };
    this.#inputs = FORMATS.filter(({ name }) => settings.targets.includes(name)).map(
      (format) => new InputTarget({ format, source, coverage: this.#coverage, meter }),
    );
    const accused = settings.strategies.map(known);
    const histories = new HistoryTarget({ random, accused, coverage: this.#coverage, corpus: this.#clusters.corpus });
    this.#connections = new ConnectionTarget({ random, coverage: this.#coverage });
    this.#targets = [this.#clusters, labels, histories, this.#connections, ...this.#inputs].filter(({ name }) =>
      settings.targets.includes(name),
    );
  }

  /** Kept by another job, or before. */
  learn(files: readonly CorpusFile[], features: readonly number[]): void {
    for (const feature of features) this.#coverage.add(feature);
    this.#coverage.take();
    for (const file of files) {
      const folder = file.path.split("/")[0];
      const { content } = file;
      if (typeof content !== "string") this.#inputs.find(({ name }) => name === folder)?.learn(content);
      else if (file.path.endsWith(".yaml")) {
        const model = clusterFromFile(file);
        if (model !== undefined) this.#clusters.corpus.add(model);
      } else if (folder === CONNECTIONS) {
        const subject = readConnection(file.path, content);
        if (!("message" in subject)) this.#connections.learn(subject);
      }
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
        case "input": {
          const finding = inputFinding(event);
          if (!this.#causes.has(finding.cause)) reports.push({ kind: "finding", finding });
          this.#causes.add(finding.cause);
          break;
        }
        case "connection": {
          const finding = connectionFinding(event);
          if (!this.#causes.has(finding.cause)) reports.push({ kind: "finding", finding });
          this.#causes.add(finding.cause);
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
      retry: (candidate) => retryCase(this.#court, contest, candidate),
      budget: contest.against.kind === "outsider" ? OUTSIDE_BUDGET : SHRINK_BUDGET,
    });
    if (finding === undefined || this.#causes.has(finding.cause)) return undefined;
    this.#causes.add(finding.cause);
    return findingText(finding);
  }
}

export function findingText(finding: Finding): FindingText {
  const { accused, against, thrown } = finding.disagreement;
  return {
    name: finding.name,
    cause: finding.cause,
    accused,
    against,
    shows: thrown === undefined ? "verdict" : "thrown",
    node: finding.case.model.nodes[0]?.name ?? "",
    files: Object.entries(findingFiles(finding)).map(([path, content]) => ({ path, content })),
  };
}

/** Holds the contest about the case once more. */
export async function retryCase(
  court: FreshCourt,
  contest: Contest,
  candidate: FuzzCase,
): Promise<Disagreement | undefined> {
  if (!candidate.fresh) return tryHistory(contest.accused, candidate);
  const { accused, against } = contest;
  const trial = new Trial(candidate);
  return against.kind === "outsider" ? court.holdOutside(accused, against.outsider, trial) : court.hold(contest, trial);
}

export function inputFinding({ format, bytes, finding }: Extract<FuzzEvent, { kind: "input" }>): FindingText {
  const cause = `${format}: the reader ${finding.misdeed}${finding.words === "" ? "" : `: ${finding.words}`}`;
  const extension = formatNamed(format)?.extension ?? "bin";
  return {
    name: `${format}-${contentName(cause)}`,
    cause,
    accused: format,
    against: "any input",
    shows: "input",
    node: "",
    files: [
      { path: `input.${extension}`, content: bytes },
      { path: "README.md", content: `${cause}\n\n${finding.detail}\n` },
    ],
  };
}

export function connectionFinding({ case: subject, parting, cause }: LeastConnection): FindingText {
  return {
    name: `connections-${contentName(cause)}`,
    cause,
    accused: "connections",
    against: "the plain model",
    shows: "connection",
    node: "",
    files: [
      { path: "conversation.jsonl", content: connectionText(subject) },
      { path: "README.md", content: `${cause}\n\nPacket ${parting.step + 1}: ${parting.what}.\n` },
    ],
  };
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

export function againstOf(name: string, hire: Surroundings["hire"]): Against {
  const outsider = hire(name);
  if (outsider !== undefined) return { kind: "outsider", outsider };
  if (name === REFERENCE) return { kind: "reference" };
  if (name === "import") return { kind: "import" };
  return { kind: "strategy", strategy: known(name) };
}
