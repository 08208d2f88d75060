/**
 * What one packet makes a node do, by kind of work. Counted from the trace of a representative packet, never on the hot
 * path: a decision names its whole path.
 */
import { assertNever } from "../../dataplane/assertNever.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { IPSet, Match, Program, Rule } from "../../dataplane/program.ts";
import type { TraceSink, TraceStep } from "../../dataplane/trace.ts";
import { setWork } from "./setWork.ts";

/**
 * Kind of work to how often: `chain` (a built-in chain was called), `rule` (a rule was looked at), `jump` (a chain called
 * and returned from), `match KIND`, `set TYPE` (one was asked, by a rule or by a list),
 * `prefix length` (one that a set of prefixes was asked for), `set member` (and the set has it), `target KIND`,
 * `conntrack STATE`; for maps, by their size, `trie`, `map`
 * and `miss` (a hash map without an answer, whose bucket is most often empty).
 */
export type WorkCounts = ReadonlyMap<string, number>;

/** Tests that the kernel makes in the rule's head (ip_packet_match), before any module is called. */
const HEAD = new Set<Match["kind"]>(["address", "interface", "protocol", "fragment"]);
/** Rules and chains' ends in order, as a sink; ask `counts` afterwards. */
export class WorkCounter implements TraceSink {
  readonly #counts = new Map<string, number>();
  readonly #sets: ReadonlyMap<string, IPSet>;
  readonly #packet: Packet;
  readonly #maps: ReadonlyMap<string, { readonly type: string; readonly entries: number }>;
  readonly #builtIn: ReadonlySet<string>;
  #chain = "";

  /** `packet`: the one that walks. */
  constructor(program: Program, packet: Packet) {
    this.#packet = packet;
    const tables = program.kind === "tables" ? program.families.flatMap((family) => family.tables) : [];
    this.#builtIn = new Set(
      tables.flatMap(({ name, chains }) =>
        chains.filter(({ policy }) => policy !== undefined).map((chain) => `${name} ${chain.name}`),
      ),
    );
    this.#sets = new Map(program.kind === "tables" ? program.sets.map((set) => [set.name, set]) : []);
    this.#maps = new Map(
      program.kind === "maps"
        ? program.maps.map(({ name, type, entries }) => [name, { type, entries: entries.length }])
        : [],
    );
  }

  get counts(): WorkCounts {
    return this.#counts;
  }

  step(step: TraceStep): void {
    switch (step.kind) {
      case "rule":
        this.#enter(step.table, step.chain);
        this.#countRule(step.rule, step.failed);
        return;
      case "chainEnd":
        this.#enter(step.table, step.chain);
        return;
      case "conntrack":
        this.#add(`conntrack ${step.state}`);
        return;
      case "lookup": {
        const map = this.#maps.get(step.map);
        const kind = map?.type === "lpm-trie" ? "trie" : step.value === undefined ? "miss" : "map";
        this.#add(map === undefined ? kind : `${kind} ${map.entries}`);
        return;
      }
      case "verdict":
        return;
      default:
        assertNever(step);
    }
  }

  /** A built-in chain is called once for each packet; its rules follow one another until the next is. */
  #enter(table: string, chain: string): void {
    const key = `${table} ${chain}`;
    if (!this.#builtIn.has(key) || this.#chain === key) return;
    this.#chain = key;
    this.#add("chain");
  }

  #countRule(rule: Rule, failed: Match | undefined): void {
    this.#add("rule");
    if (failed !== undefined && HEAD.has(failed.kind)) return;
    for (const match of rule.matches) {
      if (!HEAD.has(match.kind)) for (const kind of this.#kindsOf(match)) this.#add(kind);
      if (match === failed) return;
    }
    const { target } = rule;
    if (target === undefined) return;
    if (target.kind === "jump" || target.kind === "goto") this.#add("jump");
    else if (!STANDARD.has(target.kind)) this.#add(`target ${target.kind}`);
  }

  #kindsOf(match: Match): readonly string[] {
    switch (match.kind) {
      case "set":
        return ["match set", ...setWork(this.#sets, match, this.#packet)];
      case "ports":
        return [match.extension === "multiport" ? "match multiport" : "match ports"];
      default:
        return [`match ${match.kind}`];
    }
  }

  #add(kind: string): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
  }
}

/** Targets that are verdicts and cost nothing of their own. */
const STANDARD: ReadonlySet<string> = new Set(["accept", "drop", "return"]);
