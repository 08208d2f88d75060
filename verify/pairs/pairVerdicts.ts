/**
 * What becomes of first packets between all pairs of some addresses, for many pairs at once: each as if nothing else had ever
 * been sent. Where packets are pushed one by one (Lane), a table of n addresses takes n² walks; here every rule is looked at
 * once for all packets that come to it (tableWalk.ts), and every entry of a map once for all who ask (mapAnswers.ts).
 */
import { hostCidr } from "../../dataplane/address.ts";
import { PATH } from "../../dataplane/packet.ts";
import type { MapProgram, Program, TableProgram } from "../../dataplane/program.ts";
import { VERDICT_CODE } from "../../dataplane/verdict.ts";
import { AtomSet } from "../atomSet.ts";
import { MapAnswers } from "./mapAnswers.ts";
import { PacketMatches } from "./packetMatches.ts";
import { opensFlows, type PairQuestion } from "./question.ts";
import { Refusals } from "./refusals.ts";
import { type Refuse, TablePairs, Undecidable } from "./tableWalk.ts";

/** A node, asked about all packets that meet it: those of its own sources, and those that come to its own from elsewhere. */
interface NodePairs {
  /** Ends on the node, its own addresses among them. */
  readonly own: AtomSet;
  decide(sources: AtomSet, refusals: Refusals): void;
}

export class PairVerdicts {
  readonly #question: PairQuestion;
  readonly #nodes: readonly NodePairs[];

  private constructor(question: PairQuestion, nodes: readonly NodePairs[]) {
    this.#question = question;
    this.#nodes = nodes;
  }

  /** Of all nodes of a cluster. Undefined: packets have to be asked about one by one (`Undecidable`, or another protocol). */
  static of(programs: readonly Program[], question: PairQuestion): PairVerdicts | undefined {
    if (!question.ports.every((port) => opensFlows(port, question.family))) return undefined;
    const packets = new PacketMatches(question);
    const owned = ownedBy(programs, question);
    const nodes = programs.map((program, index) => {
      const own = owned[index] ?? new AtomSet(question.ends.length);
      return program.kind === "tables"
        ? tableNode(program, { question, packets, own })
        : mapNode(program, question, own);
    });
    return new PairVerdicts(question, nodes);
  }

  /** What becomes of openings from these sources. Undefined: as above. */
  of(sources: AtomSet): Refusals | undefined {
    const refusals = new Refusals(this.#question, sources);
    try {
      for (const { own, decide } of this.#nodes) {
        refusals.enter(own);
        decide(sources, refusals);
      }
    } catch (error) {
      if (error instanceof Undecidable) return undefined;
      throw error;
    }
    return refusals;
  }
}

/** By program: the ends whose node it is. Of two that name an address the first has it, as in a fabric. */
function ownedBy(programs: readonly Program[], question: PairQuestion): readonly AtomSet[] {
  const taken = new AtomSet(question.ends.length);
  return programs.map(({ attachment: { localAddresses, pods } }) => {
    const own = new AtomSet(question.ends.length);
    for (const address of [...localAddresses, ...pods.flatMap(({ addresses }) => addresses)]) {
      const end = question.number(hostCidr(address));
      if (end === undefined || taken.has(end)) continue;
      taken.add(end);
      own.add(end);
    }
    return own;
  });
}

interface NodeParts {
  readonly question: PairQuestion;
  readonly packets: PacketMatches;
  readonly own: AtomSet;
}

function tableNode(program: TableProgram, { question, packets, own }: NodeParts): NodePairs {
  const tables = new TablePairs(program, question, packets);
  const { local } = tables.conditions;
  return {
    own,
    decide(sources, refusals) {
      const refuse: Refuse = (verdict, boxes) => {
        for (const box of boxes) refusals.add(verdict, box);
      };
      const walk = (path: number, side: { readonly from: AtomSet; readonly to: AtomSet }) => {
        const openings = [
          { sources: sources.and(own).and(side.from), destinations: side.to },
          { sources: sources.minus(own).and(side.from), destinations: own.and(side.to) },
        ].flatMap((box) =>
          box.sources.isEmpty || box.destinations.isEmpty ? [] : { ...box, ports: question.allPorts },
        );
        if (openings.length > 0) tables.walk(path, openings, refuse);
      };
      // What the node sends to itself meets no rule.
      const others = local.not();
      walk(PATH.forward, { from: others, to: others });
      walk(PATH.input, { from: others, to: local });
      walk(PATH.output, { from: local, to: others });
    },
  };
}

function mapNode(program: MapProgram, question: PairQuestion, own: AtomSet): NodePairs {
  const answers = new MapAnswers(program, question);
  return {
    own,
    decide(sources, refusals) {
      const { drop } = VERDICT_CODE;
      for (const source of sources.and(own)) {
        const only = onlyOf(source, question);
        for (const { peers, ports } of answers.refusals(source, "egress")) {
          refusals.add(drop, { sources: only, destinations: peers, ports });
        }
      }
      for (const destination of own) {
        const only = onlyOf(destination, question);
        for (const { peers, ports } of answers.refusals(destination, "ingress")) {
          refusals.add(drop, { sources: peers.and(sources), destinations: only, ports });
        }
      }
    },
  };
}

function onlyOf(end: number, { ends }: PairQuestion): AtomSet {
  const only = new AtomSet(ends.length);
  only.add(end);
  return only;
}
