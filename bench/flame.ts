/** What a traffic mix makes programs do, as stacks of chains: the input of a flame graph. */
import { assertNever } from "../dataplane/assertNever.ts";
import { Fabric } from "../dataplane/fabric.ts";
import type { Packet } from "../dataplane/packet.ts";
import type { Program } from "../dataplane/program.ts";
import type { TraceSink, TraceStep } from "../dataplane/trace.ts";
import { answerTo } from "../verify/answer.ts";
import { nextOf } from "./workloads/traffic.ts";

/** Frames from the outside in, separated by `;`, to how often a rule or map was looked at there. */
export type Stacks = ReadonlyMap<string, number>;

/** Follows the walk through chains that call each other, and counts every rule under those that led to it. */
class StackCounter implements TraceSink {
  readonly counts = new Map<string, number>();
  /** The first as `table CHAIN`, the way netfilter calls it. */
  readonly #chains: string[] = [];
  #table = "";
  #expected: { readonly chain: string; readonly how: "jump" | "goto" } | undefined;

  step(step: TraceStep): void {
    switch (step.kind) {
      case "rule": {
        this.#enter(step.table, step.chain);
        this.#count([...this.#chains, String(step.number)]);
        const { target } = step.rule;
        if (step.failed === undefined && (target?.kind === "jump" || target?.kind === "goto")) {
          this.#expected = { chain: target.chain, how: target.kind };
        }
        return;
      }
      case "chainEnd":
        this.#enter(step.table, step.chain);
        return;
      case "lookup":
        this.#count([`map ${step.map}`, step.meaning]);
        return;
      case "conntrack":
      case "verdict":
        // Of the next node nothing is known yet.
        this.#chains.length = 0;
        this.#expected = undefined;
        return;
      default:
        assertNever(step);
    }
  }

  /**
   * Brings the chains that are being walked to those that end in this one: called from the last, returned to, or called
   * by netfilter itself, which starts anew.
   */
  #enter(table: string, chain: string): void {
    const expected = this.#expected;
    this.#expected = undefined;
    const chains = this.#chains;
    if (table === this.#table && expected?.chain === chain && chains.length > 0) {
      if (expected.how === "goto" && chains.length > 1) chains.pop();
      chains.push(chain);
      return;
    }
    this.#table = table;
    const outermost = `${table} ${chain}`;
    const depth = chains[0] === outermost ? 0 : chains.lastIndexOf(chain);
    if (depth >= 0) chains.length = depth + 1;
    else chains.splice(0, chains.length, outermost);
  }

  #count(frames: readonly string[]): void {
    const stack = frames.map((name) => name.replaceAll(";", ",")).join(";");
    this.counts.set(stack, (this.counts.get(stack) ?? 0) + 1);
  }
}

/** Pushes every opening, and where it passes the answer and one more packet, through the programs' nodes. */
export function stacksOf(programs: readonly Program[], openings: readonly Packet[]): Stacks {
  const fabric = new Fabric(programs);
  const counter = new StackCounter();
  for (const opening of openings) {
    if (fabric.push(opening, counter).verdict !== "accept") continue;
    fabric.push(answerTo(opening), counter);
    fabric.push(nextOf(opening), counter);
  }
  return counter.counts;
}
