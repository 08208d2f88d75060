/**
 * Recorded commands of a controller -> operations that `NodeState` can carry out.
 *
 * What a command says depends on what is there (`add` takes what the type of its set takes), so a reader knows the sets
 * of the node and follows every command it reads. Rules are read by the reader of saves: a line of `iptables-restore` and
 * a call of `iptables` have its form once the verb and the chain are taken off.
 */
import type { Family } from "../../dataplane/address.ts";
import type { IPSet, IPSetMember, Rule, TableName, TableProgram } from "../../dataplane/program.ts";
import { BUILT_IN_CHAINS } from "../../dataplane/program.ts";
import { formatIssue } from "../issue.ts";
import type { Operation, Part, RuleCommand, SetCommand, SetHead } from "../update/operation.ts";
import { ImportIssues } from "./importIssues.ts";
import { parseIpsetSave } from "./ipsetSave.ts";
import { parseIptablesSave } from "./iptablesSave.ts";
import { splitWords, type Word } from "./lines.ts";
import type { SetNames } from "./scope.ts";

/** A command as it was run. */
export interface RecordedCommand {
  readonly tool: string;
  readonly args: readonly string[];
  readonly stdin?: string | null;
}

/** Not something that these tools do to sets and tables. */
export class UnreadableCommand extends Error {}

export class CommandReader {
  readonly #heads = new Map<string, SetHead>();
  /** Elements by the type of their set and their text: a controller writes the same ones again and again. */
  readonly #members = new Map<string, IPSetMember>();

  constructor(program: TableProgram) {
    for (const { members: _members, ...head } of program.sets) this.#heads.set(head.name, head);
  }

  /** Throws `UnreadableCommand`. */
  read({ tool, args, stdin }: RecordedCommand, cause = ""): Operation {
    const text = stdin ?? undefined;
    const base = { args, ...(text !== undefined && { stdin: text }), cause } as const;
    const name = tool.replace("-legacy", "");
    switch (name) {
      case "ipset":
        return { ...base, tool: "ipset", parts: this.#ipset(args, text) };
      case "iptables-restore":
      case "ip6tables-restore":
        return { ...base, tool: name, parts: restoreParts(text ?? "", args, name === "iptables-restore" ? 4 : 6) };
      case "iptables":
      case "ip6tables":
        return { ...base, tool: name, parts: [callPart(args, name === "iptables" ? 4 : 6)] };
      default:
        throw new UnreadableCommand(`${tool} changes neither sets nor tables`);
    }
  }

  #ipset(args: readonly string[], stdin: string | undefined): readonly Part[] {
    const tolerant = args.some((arg) => /^--?exist$/.test(arg));
    const words = args.filter((arg) => !/^--?exist$/.test(arg));
    if (words[0] !== "restore" && words[0] !== "-") return this.#setParts(words, tolerant);
    return (stdin ?? "").split("\n").flatMap((line) => this.#setParts(setWords(line), tolerant));
  }

  #setParts(given: readonly string[], tolerant: boolean): readonly Part[] {
    const words = given.filter((word) => word !== "--exist" && word !== "-exist");
    const [verb] = words;
    if (verb === undefined || verb === "COMMIT" || verb === "quit") return [];
    return [{ kind: "set", command: this.#setCommand(words, tolerant || words.length < given.length) }];
  }

  #setCommand([verb = "", name = "", ...rest]: readonly string[], tolerant: boolean): SetCommand {
    const also = tolerant ? ({ tolerant: true } as const) : {};
    switch (verb) {
      case "create": {
        const set = this.#parsed(`create ${[name, ...rest].map(quoted).join(" ")}`, name);
        const { members: _members, ...head } = set;
        if (!tolerant || !this.#heads.has(name)) this.#heads.set(name, head);
        return { verb, set: head, ...also };
      }
      case "add":
      case "del": {
        const head = this.#heads.get(name);
        if (head === undefined) throw new UnreadableCommand(`${verb} ${name}: there is no such set`);
        const member = this.#member(head, rest);
        return { verb, set: name, member, ...also };
      }
      case "swap":
        return { verb, from: name, to: rest[0] ?? "" };
      case "flush":
        return { verb, set: name === "" ? undefined : name };
      case "destroy":
        // Its head stays known: a set in use is not destroyed, one that is made anew brings a head of its own.
        return { verb, set: name };
      default:
        throw new UnreadableCommand(`ipset ${verb}`);
    }
  }

  #member(head: SetHead, words: readonly string[]): IPSetMember {
    const entry = words.map((word, index) => (words[index - 1] === "comment" ? `"${word}"` : word)).join(" ");
    const key = `${head.type} ${head.family} ${entry}`;
    const known = this.#members.get(key);
    if (known !== undefined) return known;
    const lists = [...this.#heads.keys()].filter((each) => head.type === "list:set" && each !== head.name);
    const lines = [...lists.map((each) => `create ${each} hash:ip`), createText(head)];
    const { members } = this.#parsed(`${lines.join("\n")}\nadd ${head.name} ${entry}`, head.name);
    const [member, ...more] = members;
    if (member === undefined || more.length > 0) throw new UnreadableCommand(`add ${head.name} ${entry}`);
    this.#members.set(key, member);
    return member;
  }

  #parsed(text: string, name: string): IPSet {
    const issues = new ImportIssues("command");
    const sets = parseIpsetSave({ name: "command", text }, issues);
    const wrong = issues.list().find(({ severity }) => severity === "error");
    if (wrong !== undefined) throw new UnreadableCommand(formatIssue(wrong));
    const found = sets.sets().find((set) => set.name === name);
    if (found === undefined) throw new UnreadableCommand(text);
    return found;
  }
}

function createText({ name, type, family }: SetHead): string {
  return `create ${name} ${type}${type === "list:set" ? "" : ` family ${family === 4 ? "inet" : "inet6"}`} comment`;
}

function quoted(word: string): string {
  return /\s/.test(word) ? `"${word}"` : word;
}

function setWords(line: string): readonly string[] {
  const split = splitWords(line, "ipset");
  if (split.kind === "wrong") throw new UnreadableCommand(`${line}: ${split.message}`);
  return split.words.map(({ text }) => text);
}

/* ------------------------------------------------------------------------------------------------------------------ */

interface RawRule {
  readonly chain: string;
  /** The rule behind verb, chain and position, as text. */
  readonly text: string;
  make(rule: Rule): RuleCommand;
}

type RawCommand = RawRule | RuleCommand;

function restoreParts(stdin: string, args: readonly string[], family: Family): readonly Part[] {
  const flush = !args.some((arg) => arg === "--noflush" || arg === "-n");
  const parts: Part[] = [];
  let table: TableName | undefined;
  let commands: RawCommand[] = [];
  for (const line of stdin.split("\n")) {
    const text = line.trim();
    if (text === "" || text.startsWith("#")) continue;
    if (text.startsWith("*")) {
      table = tableNamed(text.slice(1));
      commands = [];
    } else if (table === undefined) throw new UnreadableCommand(`${text}: outside of a table`);
    else if (text === "COMMIT") {
      parts.push({ kind: "commit", family, table, flush, commands: resolved(commands, table, family) });
      table = undefined;
    } else if (text.startsWith(":")) {
      const [chain = "", policy = "-"] = text.slice(1).split(/\s+/);
      commands.push({
        verb: "declare",
        chain,
        ...(policy !== "-" && { policy: policy === "DROP" ? "drop" : "accept" }),
      });
    } else commands.push(ruleCommand(wordsOf(text)));
  }
  return parts;
}

function callPart(args: readonly string[], family: Family): Part {
  const words: Word[] = args.map((text) => ({ text, raw: rawWord(text), column: 1 }));
  let table: TableName = "filter";
  const kept: Word[] = [];
  for (let index = 0; index < words.length; index++) {
    const { text = "" } = words[index] ?? {};
    if (text === "-t" || text === "--table") table = tableNamed(words[++index]?.text ?? "");
    else if (text === "-w" || text === "--wait") continue;
    else kept.push(...(words[index] === undefined ? [] : [words[index] as Word]));
  }
  return { kind: "commit", family, table, flush: false, commands: resolved([ruleCommand(kept)], table, family) };
}

function tableNamed(name: string): TableName {
  const known = (Object.keys(BUILT_IN_CHAINS) as TableName[]).find((each) => each === name);
  if (known === undefined) throw new UnreadableCommand(`no table ${name}`);
  return known;
}

function wordsOf(line: string): readonly Word[] {
  const split = splitWords(line, "iptables");
  if (split.kind === "wrong") throw new UnreadableCommand(`${line}: ${split.message}`);
  return split.words;
}

function rawWord(text: string): string {
  return /[\s"\\]/.test(text) || text === "" ? `"${text.replace(/["\\]/g, (each) => `\\${each}`)}"` : text;
}

function ruleCommand([verb, chainWord, ...rest]: readonly Word[]): RawCommand {
  const chain = chainWord?.text ?? "";
  const text = rest.map(({ raw }) => raw).join(" ");
  const position = () => ({
    at: Number(rest[0]?.text),
    text: rest
      .slice(1)
      .map(({ raw }) => raw)
      .join(" "),
  });
  switch (verb?.text) {
    case "-A":
    case "--append":
      return { chain, text, make: (rule) => ({ verb: "append", chain, rule }) };
    case "-I":
    case "--insert": {
      const placed = /^\d+$/.test(rest[0]?.text ?? "") ? position() : { at: 1, text };
      return { chain, text: placed.text, make: (rule) => ({ verb: "insert", chain, at: placed.at, rule }) };
    }
    case "-R":
    case "--replace": {
      const { at, text: own } = position();
      return { chain, text: own, make: (rule) => ({ verb: "replace", chain, at, rule }) };
    }
    case "-D":
    case "--delete":
      if (rest.length === 1 && /^\d+$/.test(text)) return { verb: "deleteAt", chain, at: Number(text) };
      return { chain, text, make: (rule) => ({ verb: "delete", chain, rule }) };
    case "-N":
    case "--new-chain":
      return { verb: "create", chain };
    case "-F":
    case "--flush":
      return { verb: "flush", chain: chain === "" ? undefined : chain };
    case "-X":
    case "--delete-chain":
      return { verb: "remove", chain };
    default:
      throw new UnreadableCommand(`${verb?.text ?? ""} ${chain}`);
  }
}

/** Holds the rules while they are read. */
const HOLDER = "CHAINWALK-RULES";
const EVERY_SET: SetNames = { status: () => "known" };

function resolved(commands: readonly RawCommand[], table: TableName, family: Family): readonly RuleCommand[] {
  const raw = commands.filter((command) => "make" in command);
  if (raw.length === 0) return commands.filter((command) => "verb" in command);
  const targets = new Set(
    raw
      .flatMap(({ text }) => /(?:^|\s)(?:-j|--jump|-g|--goto)\s+(\S+)/.exec(text)?.[1] ?? [])
      .filter((name) => !isVerdict(name)),
  );
  const save = [
    `*${table}`,
    ...[HOLDER, ...targets].map((name) => `:${name} - [0:0]`),
    ...raw.map(({ text }) => `-A ${HOLDER} ${text}`),
    "COMMIT",
    "",
  ].join("\n");
  const issues = new ImportIssues("command");
  const { tables } = parseIptablesSave(
    { name: "command", text: save },
    { family, sets: EVERY_SET, issues, missingSet: () => undefined },
  );
  const wrong = issues.list().find(({ severity }) => severity === "error");
  if (wrong !== undefined) throw new UnreadableCommand(`${formatIssue(wrong)}: ${save.split("\n")[wrong.line - 1]}`);
  const rules = tables[0]?.chains.find(({ name }) => name === HOLDER)?.rules ?? [];
  if (rules.length !== raw.length) throw new UnreadableCommand(`${raw.length} rules read as ${rules.length}`);
  let index = 0;
  return commands.map((command) => {
    if ("verb" in command) return command;
    const rule = rules[index++];
    if (rule === undefined) throw new UnreadableCommand(command.text);
    return command.make(rule);
  });
}

/** Targets that are no chains: all extensions are in capitals without a hyphen, chains of the solutions are not. */
function isVerdict(name: string): boolean {
  return /^(?:ACCEPT|DROP|RETURN|REJECT|MARK|CONNMARK|NFLOG|LOG|CT|MASQUERADE|SNAT|DNAT|REDIRECT)$/.test(name);
}
