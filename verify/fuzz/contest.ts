/** Two that must agree, and whether they do about a case of first packets. */

import { type ResolvedCluster, resolvePolicies } from "../../compiler/resolve.ts";
import { resolveAgain } from "../../compiler/resolveAgain.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { assertNever } from "../../dataplane/assertNever.ts";
import type { Engine } from "../../dataplane/dataplane.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Program } from "../../dataplane/program.ts";
import type { Verdict } from "../../dataplane/verdict.ts";
import { referenceSide, type Side } from "../exhaustive.ts";
import { REFERENCE } from "../lane.ts";
import { deviantVerdict, meantVerdict } from "../meant.ts";
import { compileAll, decisionFeatures, type FreshAnswers, FreshPusher, throughText, verdictAt } from "./answers.ts";
import { type Disagreement, type FuzzCase, packetsOf } from "./case.ts";
import { type Coverage, programFeatures } from "./coverage.ts";

/** A strategy, and whom it must agree with. */
export interface Contest {
  readonly accused: Strategy;
  readonly against: Against;
}

export type Against =
  /** The API text, declared deviations aside. */
  | { readonly kind: "reference" }
  /** Another solution: where they part, a declared deviation of one of them must say so. */
  | { readonly kind: "strategy"; readonly strategy: Strategy }
  /** The accused's own programs, written as the saves of a node and read again. */
  | { readonly kind: "import" }
  | { readonly kind: "outsider"; readonly outsider: Outsider };

/** Somebody who answers elsewhere: the kernel, another program. */
export interface Outsider {
  readonly name: string;
  /** `exact`: it must give the same verdicts; `passing`: let the same packets pass, declared deviations aside. */
  readonly means: "exact" | "passing";
  /** Its verdicts in order; undefined or missing: it says nothing about the packet. */
  verdicts(question: OutsideQuestion): Promise<readonly (Verdict | undefined)[]>;
}

export interface OutsideQuestion {
  readonly trial: Trial;
  readonly programs: readonly Program[];
  /** What the accused does with each packet. */
  readonly actual: (index: number) => Verdict;
}

export function againstName(against: Against): string {
  switch (against.kind) {
    case "reference":
      return REFERENCE;
    case "strategy":
      return against.strategy.name;
    case "import":
      return "import";
    case "outsider":
      return against.outsider.name;
    default:
      return assertNever(against);
  }
}

/**
 * One cluster and its packets, on which several contests are held: the policies are resolved once, the reference asked
 * once a packet.
 */
export class Trial {
  readonly cluster: ResolvedCluster;
  readonly packets: readonly Packet[];
  #side: Side | undefined;
  readonly #said: (Verdict | undefined)[] = [];
  readonly #programs = new Map<Strategy, readonly Program[]>();
  readonly #compile: typeof compileAll;

  /** `before`: a state of which the case's cluster was made; what is the same objects in both is not made again. */
  constructor(subject: FuzzCase, compile = compileAll, before?: ResolvedCluster) {
    this.#compile = compile;
    this.cluster = before === undefined ? resolvePolicies(subject.model) : resolveAgain(before, subject.model);
    this.packets = packetsOf(subject);
  }

  /** The programs of all nodes, compiled once for all contests. Throws when one is not legal and that is looked at. */
  programs(strategy: Strategy): readonly Program[] {
    const known = this.#programs.get(strategy) ?? this.#compile(this.cluster, strategy);
    this.#programs.set(strategy, known);
    return known;
  }

  /** What the API text says of a packet. */
  said(index: number): Verdict {
    const known = this.#said[index];
    if (known !== undefined) return known;
    this.#side ??= referenceSide(this.cluster);
    const said = this.#side.open([this.packetAt(index)])[0]?.verdict ?? "unknown";
    this.#said[index] = said;
    return said;
  }

  packetAt(index: number): Packet {
    const packet = this.packets[index];
    if (packet === undefined) throw new RangeError(`packet ${index} of ${this.packets.length}`);
    return packet;
  }
}

export interface CourtOptions {
  readonly engine?: Engine;
  /**
   * Of packets about which the accused and the API text agree, one in so many is put to the deviations: one that speaks in
   * vain is a mistake as well, but the slower question. Default 1: a case that shows it once shows it again.
   */
  readonly deviationStride?: number;
}

/** Holds contests about first packets. Stateful in the columns it keeps, and in whose turn it is to be put to the deviations. */
export class FreshCourt {
  readonly #accused: FreshPusher;
  readonly #against: FreshPusher;
  readonly #deviationStride: number;
  #agreed = 0;

  constructor({ engine = "memo", deviationStride = 1 }: CourtOptions = {}) {
    this.#accused = new FreshPusher(engine);
    this.#against = new FreshPusher(engine);
    this.#deviationStride = deviationStride;
  }

  /** The first packet about which the two disagree; features of the programs and decisions go to `coverage`. */
  hold({ accused, against }: Contest, trial: Trial, coverage?: Coverage): Disagreement | undefined {
    const named = { accused: accused.name, against: againstName(against) };
    let programs: readonly Program[];
    try {
      programs = trial.programs(accused);
    } catch (error) {
      return thrownBy(named, error);
    }
    let answers: FreshAnswers;
    try {
      answers = this.#accused.push(programs, trial.packets);
    } catch (error) {
      return thrownBy(named, error); // the loader refuses them
    }
    if (coverage !== undefined) {
      for (const program of programs) programFeatures(program, coverage);
      decisionFeatures(answers, programs, coverage);
    }
    const actual = (index: number) => verdictAt(answers, index);
    let expected: (index: number) => Verdict;
    try {
      expected = this.#expectations({ accused, against }, { trial, programs, actual, coverage });
    } catch (error) {
      return thrownBy(named, error);
    }
    for (let index = 0; index < trial.packets.length; index++) {
      const meant = expected(index);
      if (meant === actual(index)) continue;
      return { ...named, step: index, expected: meant, actual: actual(index), thrown: undefined };
    }
    return undefined;
  }

  /** As `hold`, where an outsider speaks. */
  async holdOutside(accused: Strategy, outsider: Outsider, trial: Trial): Promise<Disagreement | undefined> {
    const named = { accused: accused.name, against: outsider.name };
    let programs: readonly Program[];
    try {
      programs = trial.programs(accused);
    } catch (error) {
      return thrownBy(named, error);
    }
    const answers = this.#accused.push(programs, trial.packets);
    const own = trial.packets.map((_, index) => verdictAt(answers, index));
    const actual = (index: number): Verdict => own[index] ?? "unknown";
    const theirs = await outsider.verdicts({ trial, programs, actual });
    for (const [index, packet] of trial.packets.entries()) {
      const said = theirs[index];
      if (said === undefined || said === actual(index)) continue;
      if (outsider.means === "passing") {
        if ((said === "accept") === (actual(index) === "accept")) continue;
        if (accused.deviations.some((one) => one.verdict(trial.cluster, packet) === actual(index))) continue;
      }
      return { ...named, step: index, expected: said, actual: actual(index), thrown: undefined };
    }
    return undefined;
  }

  #expectations(
    { accused, against }: Contest,
    { trial, programs, actual, coverage }: Answered,
  ): (index: number) => Verdict {
    switch (against.kind) {
      case "reference":
        return (index) => this.#meant(accused, { trial, index, actual: actual(index), coverage });
      case "import": {
        const answers = this.#against.push(throughText(programs), trial.packets);
        return (index) => verdictAt(answers, index);
      }
      case "strategy": {
        const other = against.strategy;
        const answers = this.#against.push(trial.programs(other), trial.packets);
        return (index) => {
          const own = actual(index);
          const theirs = verdictAt(answers, index);
          if ((own === "accept") === (theirs === "accept")) return own;
          const packet = trial.packetAt(index);
          const says = (strategy: Strategy, verdict: Verdict) =>
            strategy.deviations.some((one) => one.verdict(trial.cluster, packet) === verdict);
          if (says(accused, own) || says(other, theirs)) return own;
          return theirs === "accept" ? "accept" : accused.denyVerdict;
        };
      }
      case "outsider":
        throw new Error(`${against.outsider.name} answers later: holdOutside`);
      default:
        return assertNever(against);
    }
  }

  /** The verdict that the accused should have given. Deviations are asked where it and the API text part, else by turns. */
  #meant(accused: Strategy, { trial, index, actual, coverage }: Meeting): Verdict {
    const said = trial.said(index);
    const plain: Verdict = said === "accept" ? "accept" : accused.denyVerdict;
    if (actual === plain && this.#agreed++ % this.#deviationStride !== 0) return plain;
    const packet = trial.packetAt(index);
    if (coverage === undefined) return deviantVerdict(accused, trial.cluster, packet) ?? plain;
    const { verdict, deviation } = meantVerdict(accused, {
      cluster: trial.cluster,
      packet,
      said: said === "accept" ? "accept" : "drop",
    });
    if (deviation !== undefined) coverage.text(`${accused.name} deviation ${deviation.name} ${verdict}`);
    return verdict;
  }
}

/** For campaigns, which meet a mistake again and again. */
export const DEVIATION_STRIDE = 32;

interface Answered {
  readonly trial: Trial;
  readonly programs: readonly Program[];
  readonly actual: (index: number) => Verdict;
  readonly coverage: Coverage | undefined;
}

interface Meeting {
  readonly trial: Trial;
  readonly index: number;
  readonly actual: Verdict;
  readonly coverage: Coverage | undefined;
}

export function thrownBy(named: Pick<Disagreement, "accused" | "against">, error: unknown): Disagreement {
  const thrown = error instanceof Error ? error.message : String(error);
  return { ...named, step: undefined, expected: undefined, actual: undefined, thrown };
}
