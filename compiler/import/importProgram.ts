/** import: the text of a node's saves -> the program the node runs. The inverse of render. */
import type { Family } from "../../dataplane/address.ts";
import type { Attachment, FamilyTables, TableProgram } from "../../dataplane/program.ts";
import { hasErrors, type Issue } from "../issue.ts";
import { ImportIssues } from "./importIssues.ts";
import { parseInterfaces, withInterfaces } from "./interfaces.ts";
import { type ImportedSets, parseIpsetSave } from "./ipsetSave.ts";
import { parseIptablesSave } from "./iptablesSave.ts";
import type { SaveFile } from "./lines.ts";

/** What was saved on one node. A file that is absent was not saved; an empty one says that there is nothing. */
export interface NodeSaves {
  /** `iptables-save [-c]`, legacy or nft. */
  readonly iptablesSave?: SaveFile;
  /** `ip6tables-save [-c]`. */
  readonly ip6tablesSave?: SaveFile;
  /** `ipset save`. */
  readonly ipsetSave?: SaveFile;
  /** JSON: pod (`namespace/name`) to interface. Overrides the names in `attachment`. */
  readonly interfaces?: SaveFile;
  readonly node: string;
  /** Whose way of attaching pods `attachment` is; becomes `TableProgram.strategy`. */
  readonly strategy: string;
  readonly attachment: Attachment;
}

export interface ImportedProgram {
  /** Undefined when an issue is an error. */
  readonly program: TableProgram | undefined;
  readonly issues: readonly Issue[];
}

/**
 * Reads what a node held. Never throws on any text, and takes time and memory linear in it.
 *
 * What the instruction set cannot say is a warning with its place and stays in the program as an `opaque` match or
 * target, which makes a verdict `unknown` when a packet gets there. What no kernel would have held, or is no save at
 * all, is an error.
 */
export function importProgram(saves: NodeSaves): ImportedProgram {
  const issues: Issue[] = [];
  const sets = importSets(saves.ipsetSave, issues);
  const families: FamilyTables[] = [];
  for (const [family, file] of [[4, saves.iptablesSave] as const, [6, saves.ip6tablesSave] as const]) {
    if (file !== undefined) families.push(importTables(file, family, sets, issues));
  }
  const attachment = importAttachment(saves, issues);
  const { node, strategy } = saves;
  const program: TableProgram = { kind: "tables", strategy, node, sets: sets.sets(), families, attachment };
  return { program: hasErrors(issues) ? undefined : program, issues };
}

const NO_SETS: ImportedSets = { sets: () => [], status: () => "missing" };

function importSets(file: SaveFile | undefined, all: Issue[]): ImportedSets {
  if (file === undefined) return NO_SETS;
  const issues = new ImportIssues(file.name);
  const sets = parseIpsetSave(file, issues);
  all.push(...issues.list());
  return sets;
}

function importTables(file: SaveFile, family: Family, sets: ImportedSets, all: Issue[]): FamilyTables {
  const issues = new ImportIssues(file.name);
  const missing = new Set<string>();
  const tables = parseIptablesSave(file, {
    family,
    sets,
    issues,
    missingSet: (line, at, name) => {
      if (missing.has(name)) return;
      missing.add(name);
      const message = `set ${name} is in no ipset save given; a packet that is looked up in it has verdict unknown`;
      issues.warning({ code: "missing-set", line, column: at.column, message });
    },
  });
  all.push(...issues.list());
  return tables;
}

function importAttachment({ interfaces, attachment }: NodeSaves, all: Issue[]): Attachment {
  if (interfaces === undefined) return attachment;
  const issues = new ImportIssues(interfaces.name);
  const changed = withInterfaces(attachment, parseInterfaces(interfaces, issues), issues);
  all.push(...issues.list());
  return changed;
}
