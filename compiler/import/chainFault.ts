/** Whether a packet may go through the chains of a table at all: not in a circle, nor for ever. */

export interface Jump {
  readonly from: string;
  readonly to: string;
  readonly line: number;
  readonly column: number;
}

export interface ChainFault {
  readonly code: "chain-loop" | "chain-ways";
  readonly message: string;
  /** Of the jump that makes it. */
  readonly line: number;
  readonly column: number;
}

/**
 * Chains that one packet may enter, if each jump is taken and returned from. Chains that jump twice to the next double it with each
 * level: sixty of them keep a packet, in the kernel too, for longer than anybody waits. Of solutions' rules it is some millions.
 */
const MOST_ENTERED = 100_000_000;

/** Names of a circle that are shown. */
const SHOWN = 10;

/** The first fault met, if any. Depth first with a stack of its own: untrusted text may nest chains without end. */
export function findChainFault(jumps: readonly Jump[]): ChainFault | undefined {
  const byChain = new Map<string, Jump[]>();
  for (const jump of jumps) {
    const of = byChain.get(jump.from);
    if (of === undefined) byChain.set(jump.from, [jump]);
    else of.push(jump);
  }
  /** How many chains are entered from one, itself among them. */
  const done = new Map<string, number>();
  for (const start of byChain.keys()) {
    if (done.has(start)) continue;
    const path = [{ chain: start, next: 0 }];
    const onPath = new Set([start]);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const jump = byChain.get(top.chain)?.[top.next++];
      if (jump === undefined) {
        path.pop();
        onPath.delete(top.chain);
        const entered = enteredFrom(byChain.get(top.chain) ?? [], done);
        if (typeof entered !== "number") return entered;
        done.set(top.chain, entered);
      } else if (onPath.has(jump.to)) {
        const chains = path.map(({ chain }) => chain);
        return {
          code: "chain-loop",
          message: circle([...chains.slice(chains.indexOf(jump.to)), jump.to]),
          ...at(jump),
        };
      } else if (!done.has(jump.to)) {
        path.push({ chain: jump.to, next: 0 });
        onPath.add(jump.to);
      }
    }
  }
  return undefined;
}

function circle(chains: readonly string[]): string {
  const shown = chains.length <= SHOWN ? chains : [...chains.slice(0, SHOWN - 1), "..."];
  return `chains jump in a circle: ${shown.join(" > ")}`;
}

/** By a chain with these jumps, all of whose targets are done. */
function enteredFrom(jumps: readonly Jump[], done: ReadonlyMap<string, number>): number | ChainFault {
  let entered = 1;
  for (const jump of jumps) {
    entered += done.get(jump.to) ?? 1;
    if (entered > MOST_ENTERED) {
      const message = `a packet in ${jump.from} may enter more than ${MOST_ENTERED} chains, one after the other`;
      return { code: "chain-ways", message, ...at(jump) };
    }
  }
  return entered;
}

function at({ line, column }: Jump): Pick<ChainFault, "line" | "column"> {
  return { line, column };
}
