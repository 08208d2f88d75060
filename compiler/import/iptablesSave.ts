/**
 * `iptables-save` and `ip6tables-save`, of the legacy and the nft variant, with and without `-c`: text -> tables.
 *
 *     # comment
 *     *table
 *     :CHAIN POLICY [packets:bytes]          policy `-` for chains of the user
 *     [packets:bytes] -A CHAIN rule          counters only with -c
 *     COMMIT
 */
import type { Family } from "../../dataplane/address.ts";
import {
  BUILT_IN_CHAINS,
  type Chain,
  type FamilyTables,
  type Rule,
  type Table,
  type TableName,
} from "../../dataplane/program.ts";
import { CHAIN_NAME_MAX_BYTES, unsafeName } from "../names.ts";
import { findChainFault, type Jump } from "./chainFault.ts";
import { type ImportIssues, shorten } from "./importIssues.ts";
import { type Line, linesOf, type SaveFile, splitWords, type Word } from "./lines.ts";
import { parseRule } from "./rule.ts";
import type { SetNames } from "./scope.ts";

export interface SaveContext {
  readonly family: Family;
  readonly sets: SetNames;
  /** A rule names a set that no save holds. */
  missingSet(line: number, at: Word, name: string): void;
  readonly issues: ImportIssues;
}

interface OpenChain {
  readonly name: string;
  readonly line: number;
  readonly policy: "accept" | "drop" | undefined;
  readonly rules: Rule[];
}

interface OpenTable {
  readonly name: TableName;
  readonly line: number;
  readonly chains: Map<string, OpenChain>;
  readonly jumps: Jump[];
}

export function parseIptablesSave(file: SaveFile, context: SaveContext): FamilyTables {
  return new SaveReader(context).read(file);
}

class SaveReader {
  readonly #context: SaveContext;
  readonly #issues: ImportIssues;
  readonly #tables = new Map<TableName, Table>();
  /** `skipped`: the table's name is wrong, which was reported; its lines have no home. */
  #open: OpenTable | "skipped" | undefined;
  /** A line was seen that only a save has; before that, one bad line says that the text is something else. */
  #isSave = false;
  #lastLine = 1;
  /** Rules that give packets a new destination, and the first of them. */
  #destinations: { readonly line: number; readonly path: string; count: number } | undefined;

  constructor(context: SaveContext) {
    this.#context = context;
    this.#issues = context.issues;
  }

  read(file: SaveFile): FamilyTables {
    for (const line of linesOf(file.text)) {
      this.#lastLine = line.number;
      if (!this.#line(line)) break;
    }
    this.#unterminated(this.#lastLine);
    this.#warnOfDestinations();
    return { family: this.#context.family, tables: [...this.#tables.values()] };
  }

  /** False: the text is no save, the rest need not be read. */
  #line(line: Line): boolean {
    const text = line.text.trim();
    if (text === "") return true;
    if (text.startsWith("#")) {
      this.#comment(line, text);
      return true;
    }
    if (text.startsWith("*")) this.#beginTable(line, text.slice(1).trim());
    else if (!this.#isSave) {
      this.#issues.error({ code: "not-a-save", line: line.number, column: 1, message: notASave(text) });
      return false;
    } else if (text === "COMMIT") this.#commit(line);
    else if (text.startsWith(":")) this.#chain(line);
    else if (/^(?:\[\d+:\d+\]\s*)?(?:-A|--append)\s/.test(text)) this.#rule(line);
    else this.#error(line, "unknown-line", `${shorten(text)}: want *table, :chain, -A rule, COMMIT or # comment`);
    return true;
  }

  #comment(line: Line, text: string): void {
    const column = line.text.indexOf("#") + 1;
    if (/^# Warning: ip6?tables-legacy tables present/.test(text)) {
      const message = "the node also has tables of the legacy variant, which filter too and are not in this save";
      this.#issues.warning({ code: "other-variant", line: line.number, column, message });
    }
    const incompatible = /^# Table `(\w+)' is incompatible, use 'nft' tool/.exec(text)?.[1];
    if (incompatible !== undefined && isTableName(incompatible)) this.#incompatible(line, column, incompatible);
  }

  /** The nft variant found rules that it cannot print: whatever meets the table is unknown. */
  #incompatible(line: Line, column: number, name: TableName): void {
    this.#isSave = true;
    const message = `table ${name} has rules that iptables cannot print; a packet that gets there has verdict unknown`;
    this.#issues.warning({ code: "not-represented", line: line.number, column, message, path: name });
    const target = { kind: "opaque", text: `the rules of table ${name}` } as const;
    const chains = BUILT_IN_CHAINS[name].map(
      (hook): Chain => ({ name: hook, policy: "accept", rules: [{ matches: [], target }] }),
    );
    if (!this.#tables.has(name)) this.#tables.set(name, { name, chains });
  }

  #beginTable(line: Line, name: string): void {
    this.#isSave = true;
    this.#unterminated(line.number);
    this.#open = "skipped";
    if (!isTableName(name)) {
      const known = Object.keys(BUILT_IN_CHAINS).join(", ");
      this.#error(line, "unknown-table", `*${shorten(name)}: want one of ${known}`);
      return;
    }
    if (this.#tables.has(name)) this.#error(line, "duplicate-table", `*${name}: the table stands in this save twice`);
    this.#open = { name, line: line.number, chains: new Map(), jumps: [] };
  }

  #commit(line: Line): void {
    const table = this.#table(line);
    this.#open = undefined;
    if (table === undefined) return;
    const fault = findChainFault(table.jumps);
    if (fault !== undefined) this.#issues.error({ ...fault, path: table.name });
    this.#tables.set(table.name, closeTable(table));
  }

  #chain(line: Line): void {
    const table = this.#table(line);
    if (table === undefined) return;
    const [, name = "", policy = ""] = /^\s*:\s*(\S+)\s+(\S+)/.exec(line.text) ?? [];
    if (name === "") {
      this.#error(line, "bad-chain", `${shorten(line.text.trim())}: want :CHAIN POLICY [packets:bytes]`);
      return;
    }
    const builtIn = isBuiltIn(table.name, name);
    const path = `${table.name} ${name}`;
    if (table.chains.has(name)) {
      this.#error(line, "duplicate-chain", `${name}: declared twice`, path);
      return;
    }
    const unsafe = unsafeName(name, CHAIN_NAME_MAX_BYTES);
    if (unsafe !== undefined) {
      this.#error(line, "bad-name", `chain name ${shorten(name)} ${unsafe}`, path);
      return;
    }
    if (builtIn ? policy !== "ACCEPT" && policy !== "DROP" : policy !== "-") {
      const allowed = builtIn ? "ACCEPT or DROP, as it is built in" : "-, as it is not built in";
      this.#error(line, "bad-policy", `policy ${shorten(policy)} of ${name}: want ${allowed}`, path);
      return;
    }
    table.chains.set(name, {
      name,
      line: line.number,
      policy: policy === "ACCEPT" ? "accept" : policy === "DROP" ? "drop" : undefined,
      rules: [],
    });
  }

  #rule(line: Line): void {
    const table = this.#table(line);
    if (table === undefined) return;
    const split = splitWords(line.text, "iptables");
    if (split.kind === "wrong") {
      this.#issues.error({ code: "bad-line", line: line.number, column: split.column, message: split.message });
      return;
    }
    const [first, ...rest] = split.words;
    const counters = first === undefined ? undefined : countersOf(first);
    const [, name, ...options] = counters === undefined ? split.words : rest;
    const chain = name === undefined ? undefined : table.chains.get(name.text);
    if (name === undefined || chain === undefined) {
      const message = `-A ${shorten(name?.raw ?? "")}: no chain declared in table ${table.name}`;
      this.#issues.error({ code: "undeclared-chain", line: line.number, column: name?.column ?? 1, message });
      return;
    }
    const path = `${table.name} ${chain.name} ${chain.rules.length + 1}`;
    const rule = parseRule(options, {
      family: this.#context.family,
      table: table.name,
      chainKind: (each) => (table.chains.has(each) ? (isBuiltIn(table.name, each) ? "built-in" : "user") : undefined),
      sets: this.#context.sets,
      missingSet: (at, set) => this.#context.missingSet(line.number, at, set),
      issues: this.#issues,
      line: line.number,
      path,
      ...(counters !== undefined && { counters }),
    });
    if (rule === undefined) return;
    chain.rules.push(rule);
    if (rule.target?.kind === "nat" && (rule.target.target === "DNAT" || rule.target.target === "REDIRECT")) {
      this.#destinations ??= { line: line.number, path, count: 0 };
      this.#destinations.count++;
    }
    if (rule.target?.kind === "jump" || rule.target?.kind === "goto") {
      table.jumps.push({ from: chain.name, to: rule.target.chain, line: line.number, column: name.column });
    }
  }

  /** The table a line belongs to. */
  #table(line: Line): OpenTable | undefined {
    if (this.#open === "skipped") return undefined;
    if (this.#open === undefined) {
      this.#error(line, "outside-table", `${shorten(line.text.trim())}: outside of a table; want *table before it`);
    }
    return this.#open;
  }

  /** A service proxy writes such rules by the thousand; the first stands for all. */
  #warnOfDestinations(): void {
    if (this.#destinations === undefined) return;
    const { line, path, count } = this.#destinations;
    const rules = count === 1 ? "a rule gives" : `this and ${count - 1} more rules give`;
    const message = `${rules} packets a new destination, which is not modelled: there the verdict is unknown`;
    this.#issues.warning({ code: "translation", line, column: 1, message, path });
  }

  #unterminated(at: number): void {
    if (this.#open === undefined || this.#open === "skipped") return;
    const { name, line } = this.#open;
    const message = `table ${name}, begun in line ${line}, does not end with COMMIT: the save is cut off`;
    this.#issues.error({ code: "unterminated-table", line: at, column: 1, message });
  }

  #error(line: Line, code: string, message: string, path = ""): void {
    const column = line.text.length - line.text.trimStart().length + 1;
    this.#issues.error({ code, line: line.number, column, message, path });
  }
}

function isTableName(name: string): name is TableName {
  return Object.hasOwn(BUILT_IN_CHAINS, name);
}

function isBuiltIn(table: TableName, chain: string): boolean {
  return BUILT_IN_CHAINS[table].some((hook) => hook === chain);
}

/**
 * Built-in chains first and in the table's order, the others as they stood. The nft variant prints only the built-in
 * chains that something was put into; the others accept.
 */
function closeTable({ name, chains }: OpenTable): Table {
  const builtIn = BUILT_IN_CHAINS[name].map((hook): Chain => {
    const { policy = "accept", rules = [] } = chains.get(hook) ?? {};
    return { name: hook, policy, rules };
  });
  const user = [...chains.values()].filter((chain) => !isBuiltIn(name, chain.name));
  return { name, chains: [...builtIn, ...user.map((chain): Chain => ({ name: chain.name, rules: chain.rules }))] };
}

function countersOf(word: Word): readonly [packets: number, bytes: number] | undefined {
  const [, packets, bytes] = /^\[(\d+):(\d+)\]$/.exec(word.text) ?? [];
  return packets === undefined || bytes === undefined ? undefined : [Number(packets), Number(bytes)];
}

/** What the text is instead, where one can tell. */
function notASave(text: string): string {
  const wanted = "want the output of iptables-save or ip6tables-save";
  if (/^(?:create|add)\s/.test(text)) return `this is the output of ipset save; ${wanted}`;
  if (/^table\s/.test(text)) return `this is the output of nft list ruleset; ${wanted}`;
  if (/^-[PNA]\s/.test(text)) return `this is the output of iptables -S; ${wanted}`;
  if (/^Chain\s/.test(text)) return `this is the output of iptables -L; ${wanted}`;
  if (/^(?:apiVersion|kind|---)/.test(text)) return `this is a manifest; ${wanted}`;
  return `${shorten(text)}: ${wanted}`;
}
