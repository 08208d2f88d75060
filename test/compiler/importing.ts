/** Short ways to import a text in a test. */
import { type ImportedProgram, importProgram, type NodeSaves } from "../../compiler/import/importProgram.ts";
import { formatIssue } from "../../compiler/issue.ts";
import type { Attachment, Chain, IPSet, Rule, TableName, TableProgram } from "../../dataplane/program.ts";

/** A node without pods. */
export const BARE: Attachment = { uplink: "eth0", pods: [], remotePodAddresses: [], localAddresses: [] };

export interface Texts {
  readonly ipv4?: string;
  readonly ipv6?: string;
  readonly sets?: string;
  readonly interfaces?: string;
  readonly attachment?: Attachment;
}

/** Files are named v4, v6, sets and interfaces. */
export function importTexts(texts: Texts): ImportedProgram {
  const file = (name: string, text: string | undefined) => (text === undefined ? undefined : { name, text });
  const [ipv4, ipv6] = [file("v4", texts.ipv4), file("v6", texts.ipv6)];
  const [sets, interfaces] = [file("sets", texts.sets), file("interfaces", texts.interfaces)];
  const saves: NodeSaves = {
    ...(ipv4 && { iptablesSave: ipv4 }),
    ...(ipv6 && { ip6tablesSave: ipv6 }),
    ...(sets && { ipsetSave: sets }),
    ...(interfaces && { interfaces }),
    node: "node-a",
    strategy: "imported",
    attachment: texts.attachment ?? BARE,
  };
  return importProgram(saves);
}

/** The program of texts without errors; throws with the issues otherwise. */
export function programOf(texts: Texts): TableProgram {
  const { program, issues } = importTexts(texts);
  if (program === undefined) throw new Error(issues.map(formatIssue).join("\n"));
  return program;
}

/** Each issue as `file:line:column: severity: message [path]`. */
export function issuesOf(texts: Texts): readonly string[] {
  return importTexts(texts).issues.map(formatIssue);
}

/** A filter table with these rules, in the chains they name; lines count from 1, rules begin in line 6. */
export function filterSave(...rules: readonly string[]): string {
  return ["*filter", ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":POD-FW - [0:0]"]
    .concat(rules, "COMMIT", "")
    .join("\n");
}

export function chainOf(program: TableProgram, name: string, table: TableName = "filter"): Chain {
  const chain = program.families
    .flatMap(({ tables }) => tables.find((each) => each.name === table) ?? [])
    .flatMap(({ chains }) => chains)
    .find((each) => each.name === name);
  if (chain === undefined) throw new Error(`no chain ${table} ${name}`);
  return chain;
}

/** The rule that `-A FORWARD ...` makes, with these sets about. */
export function ruleOf(options: string, sets?: string): Rule {
  const text = filterSave(`-A FORWARD ${options}`);
  const [rule] = chainOf(programOf({ ipv4: text, ...(sets !== undefined && { sets }) }), "FORWARD").rules;
  if (rule === undefined) throw new Error(`no rule from ${options}`);
  return rule;
}

export function setOf(sets: string, name: string): IPSet {
  const set = programOf({ sets }).sets.find((each) => each.name === name);
  if (set === undefined) throw new Error(`no set ${name}`);
  return set;
}
