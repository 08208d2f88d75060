/** Whether the chains of a table jump in a circle, which no kernel accepts and no walk would leave. */

export interface Jump {
  readonly from: string;
  readonly to: string;
  readonly line: number;
  readonly column: number;
}

export interface ChainLoop {
  /** The circle, its first chain again at the end. */
  readonly chains: readonly string[];
  /** The jump that closes it. */
  readonly line: number;
  readonly column: number;
}

/** The first circle met, if any. Depth first with a stack of its own: untrusted text may nest chains without end. */
export function findLoop(jumps: readonly Jump[]): ChainLoop | undefined {
  const byChain = new Map<string, Jump[]>();
  for (const jump of jumps) {
    const of = byChain.get(jump.from);
    if (of === undefined) byChain.set(jump.from, [jump]);
    else of.push(jump);
  }
  const done = new Set<string>();
  for (const start of byChain.keys()) {
    if (done.has(start)) continue;
    const path = [{ chain: start, next: 0 }];
    const onPath = new Set([start]);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const jump = byChain.get(top.chain)?.[top.next++];
      if (jump === undefined) {
        path.pop();
        onPath.delete(top.chain);
        done.add(top.chain);
      } else if (onPath.has(jump.to)) {
        const chains = path.map(({ chain }) => chain);
        return { chains: [...chains.slice(chains.indexOf(jump.to)), jump.to], line: jump.line, column: jump.column };
      } else if (!done.has(jump.to)) {
        path.push({ chain: jump.to, next: 0 });
        onPath.add(jump.to);
      }
    }
  }
  return undefined;
}
