/** Results of scenarios as TAP, JUnit, Markdown, JSON, a table, and GitHub annotations. */

import { formatColumns } from "./columns.ts";
import type { Paint } from "./paint.ts";
import { workflowCommand } from "./workflowCommand.ts";

/** One expectation. */
export interface ScenarioTest {
  readonly scenario: string;
  readonly strategy: string;
  readonly file: string;
  readonly line: number;
  /** From 1. */
  readonly step: number;
  readonly title: string;
  /** Why it does not exist for the strategy; undefined: it was run. */
  readonly skipped: string | undefined;
  /** Empty: as expected. */
  readonly failures: readonly string[];
  /** The shortest walk that explains the verdict, when something failed. */
  readonly trace: readonly string[];
}

export function formatReport(
  tests: readonly ScenarioTest[],
  format: "tap" | "junit" | "md" | "json" | "table",
  paint: Paint,
): readonly string[] {
  switch (format) {
    case "tap":
      return formatTap(tests);
    case "junit":
      return formatJunit(tests);
    case "md":
      return formatMarkdown(tests);
    case "json":
      return [JSON.stringify({ ...countsOf(tests), tests }, undefined, 2)];
    case "table":
      return formatTable(tests, paint);
  }
}

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

function countsOf(tests: readonly ScenarioTest[]): Counts {
  const failed = tests.filter(({ failures }) => failures.length > 0).length;
  const skipped = tests.filter((each) => each.skipped !== undefined).length;
  return { passed: tests.length - failed - skipped, failed, skipped };
}

function countsText({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

function nameOf({ scenario, strategy, step, title }: ScenarioTest): string {
  return `${scenario} [${strategy}] step ${step}: ${title}`;
}

/** TAP version 14 (testanything.org). */
function formatTap(tests: readonly ScenarioTest[]): readonly string[] {
  const lines = tests.flatMap((each, index) => {
    // In TAP a # begins a directive and a backslash escapes it.
    const name = `${index + 1} - ${nameOf(each).replace(/[\\#]/g, "\\$&")}`;
    if (each.skipped !== undefined) return [`ok ${name} # SKIP ${each.skipped}`];
    if (each.failures.length === 0) return [`ok ${name}`];
    return [
      `not ok ${name}`,
      "  ---",
      `  at: ${JSON.stringify(`${each.file}:${each.line}`)}`,
      "  failures:",
      ...each.failures.map((failure) => `    - ${JSON.stringify(failure)}`),
      "  trace: |",
      ...each.trace.map((line) => (line === "" ? "" : `    ${line}`)),
      "  ...",
    ];
  });
  return ["TAP version 14", `1..${tests.length}`, ...lines, `# ${countsText(countsOf(tests))}`];
}

/** Suites are scenario and strategy; the form that CI systems read. */
function formatJunit(tests: readonly ScenarioTest[]): readonly string[] {
  const suites = groupsOf(tests);
  const { failed, skipped } = countsOf(tests);
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="chainwalk" tests="${tests.length}" failures="${failed}" skipped="${skipped}">`,
    ...suites.flatMap(({ scenario, strategy, tests: suite }) => {
      const counts = countsOf(suite);
      const name = `${scenario} [${strategy}]`;
      return [
        `  <testsuite name=${xml(name)} tests="${suite.length}" failures="${counts.failed}" skipped="${counts.skipped}">`,
        ...suite.flatMap(formatTestcase),
        "  </testsuite>",
      ];
    }),
    "</testsuites>",
  ];
}

function formatTestcase(each: ScenarioTest): readonly string[] {
  const attributes = `classname=${xml(`${each.scenario}.${each.strategy}`)} name=${xml(`step ${each.step}: ${each.title}`)} file=${xml(each.file)} line="${each.line}"`;
  if (each.skipped !== undefined) {
    return [`    <testcase ${attributes}>`, `      <skipped message=${xml(each.skipped)}/>`, "    </testcase>"];
  }
  if (each.failures.length === 0) return [`    <testcase ${attributes}/>`];
  return [
    `    <testcase ${attributes}>`,
    `      <failure message=${xml(each.failures.join("; "))}>${xmlText(each.trace.join("\n"))}</failure>`,
    "    </testcase>",
  ];
}

/** A quoted attribute value. */
function xml(text: string): string {
  return `"${xmlText(text).replaceAll('"', "&quot;").replaceAll("\n", "&#10;")}"`;
}

function xmlText(text: string): string {
  // XML 1.0 cannot hold most control characters, not even escaped.
  const printable = [...text]
    .filter((character) => character >= " " || character === "\n" || character === "\t")
    .join("");
  return printable.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function formatMarkdown(tests: readonly ScenarioTest[]): readonly string[] {
  const rows = summaryRows(tests).map((row) => `| ${row.join(" | ")} |`);
  const failed = tests.filter(({ failures }) => failures.length > 0);
  return [
    `**${countsText(countsOf(tests))}**`,
    "",
    "| scenario | strategy | passed | failed | skipped |",
    "| --- | --- | --: | --: | --: |",
    ...rows,
    ...failed.flatMap((each) => [
      "",
      `### ${nameOf(each)}`,
      "",
      `\`${each.file}:${each.line}\`: ${each.failures.join("; ")}`,
      "",
      "```",
      ...each.trace,
      "```",
    ]),
  ];
}

function summaryRows(tests: readonly ScenarioTest[]): readonly (readonly [string, string, string, string, string])[] {
  return groupsOf(tests).map(({ scenario, strategy, tests: group }) => {
    const { passed, failed, skipped } = countsOf(group);
    return [scenario, strategy, String(passed), String(failed), String(skipped)];
  });
}

interface Group {
  readonly scenario: string;
  readonly strategy: string;
  readonly tests: ScenarioTest[];
}

/** Tests of one scenario under one strategy, in the order they were run. */
function groupsOf(tests: readonly ScenarioTest[]): readonly Group[] {
  const groups = new Map<string, Group>();
  for (const each of tests) {
    const { scenario, strategy, file } = each;
    const key = `${file} ${strategy}`;
    const group = groups.get(key) ?? { scenario, strategy, tests: [] };
    groups.set(key, group);
    group.tests.push(each);
  }
  return [...groups.values()];
}

function formatTable(tests: readonly ScenarioTest[], paint: Paint): readonly string[] {
  const head = ["scenario", "strategy", "passed", "failed", "skipped"].map((text, index) => ({
    text,
    look: "strong" as const,
    align: index < 2 ? ("left" as const) : ("right" as const),
  }));
  const rows = summaryRows(tests).map(([scenario, strategy, passed, failed, skipped]) => [
    { text: scenario },
    { text: strategy },
    { text: passed, align: "right" as const },
    { text: failed, align: "right" as const, ...(failed !== "0" && { look: "bad" as const }) },
    { text: skipped, align: "right" as const },
  ]);
  const failed = tests.filter(({ failures }) => failures.length > 0);
  return [
    ...formatColumns([head, ...rows], { paint }),
    ...failed.flatMap((each) => [
      "",
      paint.bad(nameOf(each)),
      `${each.file}:${each.line}: ${each.failures.join("; ")}`,
      ...each.trace,
    ]),
    "",
    countsText(countsOf(tests)),
  ];
}

/** The failure at its line of the scenario. */
export function annotation({ file, line, strategy, step, failures, trace }: ScenarioTest): string {
  const title = `${strategy}, step ${step}`;
  return workflowCommand("error", { file, line, title, message: [...failures, ...trace].join("\n") });
}
