/** Random clusters and packets at their edges, on which contests are held; cases that show something new are kept. */
import type { ClusterModel } from "../../compiler/model.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { evaluate } from "../../reference/evaluate.ts";
import type { Random } from "../kernel/random.ts";
import { type FuzzCase, packetSteps } from "./case.ts";
import { roughCause } from "./cause.ts";
import { type Contest, DEVIATION_STRIDE, FreshCourt, Trial, thrownBy } from "./contest.ts";
import { ClusterCorpus, clusterFiles } from "./corpus.ts";
import { type Coverage, inputFeatures } from "./coverage.ts";
import { edgePackets } from "./edges.ts";
import { mutateCluster } from "./mutate.ts";
import { type Parts, partsFrom } from "./parts.ts";
import type { FuzzEvent, FuzzTarget, Suspect } from "./target.ts";

export interface ClusterTargetOptions {
  readonly random: Random;
  readonly contests: readonly Contest[];
  readonly coverage: Coverage;
}

/** Packets beside the matrix, a family. */
const EDGE_PACKETS = 48;

/** Programs are looked at for features in one case of so many, and in every case that is new already. */
const LOOK_STRIDE = 4;

export class ClusterTarget implements FuzzTarget {
  readonly name = "clusters";
  readonly corpus = new ClusterCorpus();
  readonly #options: ClusterTargetOptions;
  readonly #parts: Parts;
  readonly #court = new FreshCourt({ deviationStride: DEVIATION_STRIDE });
  #count = 0;

  constructor(options: ClusterTargetOptions) {
    this.#options = options;
    this.#parts = partsFrom(options.random);
  }

  /** One cluster, a run for each contest. */
  step(): readonly FuzzEvent[] | Promise<readonly FuzzEvent[]> {
    const { random, contests, coverage } = this.#options;
    const model = this.#draw();
    const packets = edgePackets(model, random, EDGE_PACKETS);
    const subject: FuzzCase = { model, steps: packetSteps(packets), fresh: true };
    const events: FuzzEvent[] = [];
    inputFeatures(model, coverage);
    let news = coverage.take();
    const looks = news > 0 || this.#count++ % LOOK_STRIDE === 0;
    let trial: Trial;
    try {
      trial = new Trial(subject);
    } catch (error) {
      const [first] = contests;
      if (first === undefined) throw error;
      const disagreement = thrownBy({ accused: first.accused.name, against: "resolve" }, error);
      return [{ kind: "suspect", suspect: suspectOf(subject, { contest: first, disagreement, said: [] }) }];
    }
    for (const contest of contests) {
      if (contest.against.kind === "outsider") continue;
      const disagreement = this.#court.hold(contest, trial, looks ? coverage : undefined);
      if (disagreement === undefined) continue;
      const packet = disagreement.step === undefined ? undefined : packets[disagreement.step];
      const said = packet === undefined ? [] : evaluate(model, packet).because;
      events.push({ kind: "suspect", suspect: suspectOf(subject, { contest, disagreement, said }) });
    }
    events.push({ kind: "ran", runs: contests.length });
    news += coverage.take();
    if (news > 0) {
      this.corpus.add(model);
      events.push({ kind: "kept", files: clusterFiles(model, packets) });
    }
    return contests.some(({ against }) => against.kind === "outsider") ? this.#outside(subject, trial, events) : events;
  }

  async #outside(subject: FuzzCase, trial: Trial, events: readonly FuzzEvent[]): Promise<readonly FuzzEvent[]> {
    const all = [...events];
    for (const contest of this.#options.contests) {
      if (contest.against.kind !== "outsider") continue;
      const disagreement = await this.#court.holdOutside(contest.accused, contest.against.outsider, trial);
      if (disagreement === undefined) continue;
      all.push({ kind: "suspect", suspect: suspectOf(subject, { contest, disagreement, said: [] }) });
    }
    return all;
  }

  #draw(): ClusterModel {
    const { random } = this.#options;
    const kept = random.oneIn(4) ? undefined : this.corpus.pick(random);
    if (kept === undefined) return this.#parts.cluster();
    const other = this.corpus.pick(random);
    return mutateCluster(kept, other, { random, parts: this.#parts });
  }
}

export function suspectOf(
  subject: FuzzCase,
  { contest, disagreement, said }: Pick<Suspect, "contest" | "disagreement"> & { readonly said: readonly string[] },
): Suspect {
  return { case: subject, contest, disagreement, rough: roughCause(disagreement, said) };
}

/** Contests of every accused against everybody. */
export function contestsOf(accused: readonly Strategy[], against: readonly Contest["against"][]): readonly Contest[] {
  return accused.flatMap((strategy) =>
    against
      .filter((other) => other.kind !== "strategy" || other.strategy !== strategy)
      .map((other) => ({ accused: strategy, against: other })),
  );
}
