/** A walk as the page draws it: hops, chains in the order entered, rows. */
import { ruleText } from "../../compiler/render/iptablesSave.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Program, TableProgram } from "../../dataplane/program.ts";
import type { PacketResult } from "../../dataplane/result.ts";
import type { TraceStep } from "../../dataplane/trace.ts";
import { traceViewOf } from "../../format/answer.ts";
import { markAfter } from "../../format/match.ts";
import { formatDecision, formatHead, formatWork, type TraceView } from "../../format/trace.ts";
import { detailedSteps, type Line } from "../../format/traceRows.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import { REFERENCE } from "../../verify/lane.ts";
import { namerOf } from "../../verify/who.ts";
import type { HopView, LookupView, Place, RowView, StrategyWalk, VisitView, WalkAsk } from "../messages.ts";
import type { Bench } from "./bench.ts";
import { keyFields, type MapRole, mapRoles, valueFields } from "./fields.ts";
import { modelled } from "./modelled.ts";
import { distinctPlaces, placesIn } from "./places.ts";
import { type Pushed, pushTarget } from "./push.ts";
import { isUsersMistake } from "./refusal.ts";

export function walkAll(bench: Bench, { strategies, target, walks }: WalkAsk): readonly StrategyWalk[] {
  return strategies.map((strategy) => {
    try {
      return walkOf(strategy, pushTarget(bench, strategy, target), walks);
    } catch (error) {
      // One strategy that has no room, or no such step, is no reason to hide the others.
      if (isUsersMistake(error)) return absentWalk(strategy, error.message);
      throw error;
    }
  });
}

function absentWalk(strategy: string, absent: string): StrategyWalk {
  return {
    strategy,
    absent,
    verdict: "unknown",
    ctState: "untracked",
    head: "",
    because: [],
    decision: undefined,
    work: undefined,
    workText: "",
    modelled: undefined,
    hops: [],
    places: [],
    failures: [],
    source: "",
    destination: "",
    packet: undefined,
  };
}

function walkOf(strategy: string, pushed: Pushed, walks: boolean): StrategyWalk {
  const { lane, packet, answer, steps, because, cluster, failures } = pushed;
  const { by } = answer;
  const nameOf = namerOf(cluster.model);
  const quoted = by.kind === "reference" ? by.result.because : [];
  const common = {
    strategy,
    absent: undefined,
    verdict: answer.verdict,
    ctState: answer.ctState,
    head: formatHead(packet, nameOf),
    because: strategy === REFERENCE && quoted.length > 0 ? [...because, ...quoted] : because,
    failures,
    source: nameOf(packet.source),
    destination: nameOf(packet.destination),
    packet: packetToObject(packet, nameOf),
  };
  const named = [...because, ...quoted].flatMap((line) => placesIn(line, cluster.model, by.kind === "reference"));
  if (by.kind === "reference") {
    return {
      ...common,
      decision: undefined,
      work: undefined,
      workText: "",
      modelled: undefined,
      hops: [],
      places: distinctPlaces(named),
    };
  }
  const { result } = by;
  const view = traceViewOf({ lane, packet, answer, cluster, steps, nameOf }, result, because);
  const origin = result.decidedBy?.origin ?? "";
  const decided: readonly Place[] = placesIn(origin, cluster.model, true);
  return {
    ...common,
    decision: result.decidedBy === undefined ? undefined : formatDecision(result.decidedBy),
    work: result.work,
    workText: formatWork(result.work),
    modelled: modelled(lane.programs, packet, steps),
    hops: walks ? hopsOf(view, lane.programs, packet, result) : [],
    places: distinctPlaces([...decided, ...named]),
  };
}

function hopsOf(
  view: TraceView,
  programs: readonly Program[],
  packet: Packet,
  result: PacketResult,
): readonly HopView[] {
  let at = 0;
  return result.hops.map((hop) => {
    const program = programs.find(({ node }) => node === hop.node);
    const steps = view.steps.filter(({ node }) => node === hop.node);
    const visits = new Visits(program, packet, at);
    for (const { step, line } of detailedSteps(view, hop, steps)) visits.add(step, line);
    at += visits.rows;
    const tracked = steps.find((step) => step.kind === "conntrack");
    return {
      node: hop.node,
      ctState: hop.ctState,
      ctWhy: tracked?.kind === "conntrack" ? tracked.why : "",
      verdict: hop.verdict,
      visits: visits.views(),
    };
  });
}

interface OpenVisit {
  readonly table: string | undefined;
  readonly name: string;
  readonly depth: number;
  readonly rows: RowView[];
  /** The number of the last rule seen. */
  last: number;
}

/** A walk beyond this is drawn without the text of rules that did not match. */
const TEXTS = 3_000;

/** Puts steps into the activations of chains that they belong to. */
class Visits {
  readonly #program: Program | undefined;
  readonly #packet: Packet;
  readonly #roles: ReadonlyMap<string, MapRole>;
  readonly #visits: OpenVisit[] = [];
  /** Activations that wait for the one called to come back. */
  #stack: OpenVisit[] = [];
  #entered: "jump" | "goto" | undefined;
  #at: number;
  readonly #start: number;

  constructor(program: Program | undefined, packet: Packet, start: number) {
    this.#program = program;
    this.#packet = packet;
    this.#roles = program?.kind === "maps" ? mapRoles(program) : new Map();
    this.#at = start;
    this.#start = start;
  }

  /** Rows so far. */
  get rows(): number {
    return this.#at - this.#start;
  }

  add(step: TraceStep, line: Line): void {
    switch (step.kind) {
      case "rule": {
        const visit = this.#visitOf(step.table, step.chain);
        visit.last = step.number;
        const { target, matches } = step.rule;
        const isMatched = step.failed === undefined;
        const mark = isMatched && target?.kind === "mark" ? markAfter(target, step.mark) : step.mark;
        visit.rows.push({
          ...this.#row(line),
          text: isMatched || this.rows < TEXTS ? ruleText(step.rule, this.#packet.source.family) : "",
          sets: matches.flatMap((match) => (match.kind === "set" ? [match.set] : [])),
          mark,
          isMarked: mark !== step.mark,
        });
        this.#entered = isMatched && (target?.kind === "jump" || target?.kind === "goto") ? target.kind : undefined;
        break;
      }
      case "chainEnd": {
        const visit = this.#visitOf(step.table, step.chain);
        visit.last = step.number - 1;
        const mark = visit.rows.at(-1)?.mark ?? 0;
        visit.rows.push({ ...this.#row(line), text: "", sets: [], mark, isMarked: false });
        this.#entered = undefined;
        break;
      }
      case "lookup": {
        const visit = this.#open(undefined, step.map, 0);
        const role = this.#roles.get(step.map);
        const lookup: LookupView = {
          key: keyFields(role, step.key),
          value: step.value === undefined ? undefined : valueFields(role, step.value),
          meaning: step.meaning,
        };
        visit.rows.push({ ...this.#row(line), text: "", sets: [], mark: 0, isMarked: false, lookup });
        break;
      }
      case "conntrack":
      case "verdict":
        break;
    }
  }

  views(): readonly VisitView[] {
    return this.#visits.map(({ table, name, depth, rows, last }) => ({
      table,
      name,
      depth,
      rows,
      unreached: table === undefined ? 0 : Math.max(0, this.#lengthOf(table, name) - last),
    }));
  }

  #row({ number, conditions, action, kind, origin }: Line): Omit<RowView, "text" | "sets" | "mark" | "isMarked"> {
    return { at: this.#at++, number: number ?? "", conditions, action, kind, origin, lookup: undefined };
  }

  #visitOf(table: string, chain: string): OpenVisit {
    const top = this.#stack.at(-1);
    const isSame = (visit: OpenVisit | undefined) => visit?.table === table && visit.name === chain;
    if (this.#entered !== undefined) {
      const depth = (top?.depth ?? -1) + (this.#entered === "jump" ? 1 : 0);
      if (this.#entered === "goto") this.#stack.pop();
      this.#entered = undefined;
      return this.#push(table, chain, Math.max(0, depth));
    }
    while (this.#stack.length > 0 && !isSame(this.#stack.at(-1))) this.#stack.pop();
    return this.#stack.at(-1) ?? this.#push(table, chain, 0);
  }

  #push(table: string, chain: string, depth: number): OpenVisit {
    const visit = this.#open(table, chain, depth);
    this.#stack.push(visit);
    return visit;
  }

  #open(table: string | undefined, name: string, depth: number): OpenVisit {
    const visit: OpenVisit = { table, name, depth, rows: [], last: 0 };
    this.#visits.push(visit);
    return visit;
  }

  #lengthOf(table: string, chain: string): number {
    if (this.#program?.kind !== "tables") return 0;
    return chainOf(this.#program, this.#packet.source.family, table, chain)?.rules.length ?? 0;
  }
}

function chainOf(program: TableProgram, family: 4 | 6, table: string, chain: string) {
  return program.families
    .find((each) => each.family === family)
    ?.tables.find(({ name }) => name === table)
    ?.chains.find(({ name }) => name === chain);
}
