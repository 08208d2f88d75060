/** The one list of suites: command line, reports and docs iterate it. */
import { planSuite, writesSuite } from "./changes.ts";
import { localitySuite, stateSuite } from "./clusters.ts";
import { blocksSuite, compileSuite, memorySuite, selectorsSuite, updateSuite } from "./compile.ts";
import { microSuite } from "./micro.ts";
import { replaySuite } from "./replay.ts";
import { positionSuite, rulesSuite } from "./rules.ts";
import type { Suite } from "./suite.ts";
import { flowsSuite, mapsSuite } from "./tables.ts";

export const SUITES: readonly Suite[] = [
  rulesSuite,
  positionSuite,
  localitySuite,
  stateSuite,
  flowsSuite,
  mapsSuite,
  compileSuite,
  selectorsSuite,
  blocksSuite,
  memorySuite,
  updateSuite,
  writesSuite,
  planSuite,
  replaySuite,
  microSuite,
];

export function suiteNamed(name: string): Suite | undefined {
  return SUITES.find((suite) => suite.name === name);
}
