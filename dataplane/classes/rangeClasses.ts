/** Which ports, or other numbers of 16 bits, a program cannot tell apart. */
import type { PortRange } from "../program.ts";

const VALUES = 0x1_0000;

/** The class of a value is `table[value & mask]`; `mask` is 0 when nobody asks, so that one word serves all values. */
export interface RangeClasses {
  readonly table: Uint16Array;
  readonly mask: number;
  readonly count: number;
}

/**
 * Collects questions of the form "is it in one of these ranges?". Two values are in one class exactly if every question
 * has the same answer for both.
 */
export class RangeCuts {
  readonly #questions = new Map<string, readonly PortRange[]>();
  /** Values asked for one by one: sets name them by the million, but few different ones. */
  readonly #values = new Set<number>();

  ask(ranges: readonly PortRange[]): void {
    const name = ranges.map(({ first, last }) => `${first}-${last}`).join();
    if (!this.#questions.has(name)) this.#questions.set(name, ranges);
  }

  askValue(value: number): void {
    this.#values.add(value);
  }

  classes(): RangeClasses {
    for (const value of this.#values) this.ask([{ first: value, last: value }]);
    if (this.#questions.size === 0) return { table: new Uint16Array(1), mask: 0, count: 1 };
    const edges = edgesOf([...this.#questions.values()]);
    const cuts = [...edges.keys()].sort((a, b) => a - b);
    const table = new Uint16Array(VALUES);
    /** How many ranges of each question the present value is in: those of one question may overlap. */
    const inside = new Map<number, number>();
    const classes = new Map<string, number>();
    for (const [index, cut] of cuts.entries()) {
      for (const [question, change] of edges.get(cut) ?? []) {
        const depth = (inside.get(question) ?? 0) + change;
        if (depth === 0) inside.delete(question);
        else inside.set(question, depth);
      }
      const name = [...inside.keys()].sort((a, b) => a - b).join();
      const found = classes.get(name) ?? classes.size;
      classes.set(name, found);
      table.fill(found, cut, cuts[index + 1] ?? VALUES);
    }
    return { table, mask: VALUES - 1, count: classes.size };
  }
}

/** By value: the questions one of whose ranges begins (1) or has just ended (-1) there. The first value is always one. */
function edgesOf(questions: readonly (readonly PortRange[])[]): Map<number, (readonly [number, number])[]> {
  const edges = new Map<number, (readonly [number, number])[]>([[0, []]]);
  const add = (value: number, question: number, change: 1 | -1) => {
    if (value >= VALUES) return;
    const there = edges.get(value);
    if (there === undefined) edges.set(value, [[question, change]]);
    else there.push([question, change]);
  };
  for (const [question, ranges] of questions.entries()) {
    for (const { first, last } of ranges) {
      if (first > last) continue;
      add(first, question, 1);
      add(last + 1, question, -1);
    }
  }
  return edges;
}
