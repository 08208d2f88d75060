/** The one list of strategies. Command line, bench, docs and every conformance test iterate it. */
import type { Strategy } from "./strategy.ts";

export const STRATEGIES: readonly Strategy[] = [];

export function strategyNamed(name: string): Strategy | undefined {
  return STRATEGIES.find((strategy) => strategy.name === name);
}
