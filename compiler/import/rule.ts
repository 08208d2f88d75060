/**
 * One rule of a save: words -> Rule.
 *
 * Read as getopt does it for iptables: an option belongs to the module loaded last that has it, wherever it stands, so
 * that what people write (`-j NFLOG --nflog-group 1 -m limit --limit 1/s`, `-p tcp --dport 80`) reads like what the save
 * commands print. The options of a module we do not have run to the next option we do have.
 */
import type { Family } from "../../dataplane/address.ts";
import { protocolName } from "../../dataplane/packet.ts";
import type { Match, Rule, TableName, Target } from "../../dataplane/program.ts";
import { type ImportIssues, shorten } from "./importIssues.ts";
import type { Word } from "./lines.ts";
import { MATCH_MODULES, mayStandAlone } from "./matches.ts";
import { type MatchModule, opaqueMatch } from "./matchModule.ts";
import { neededProtocols, protocolModule } from "./protocolMatches.ts";
import { HEADER_OPTIONS, readHeader } from "./ruleHeader.ts";
import { type Given, type RuleScope, type SetNames, valueAt } from "./scope.ts";
import { opaqueTarget, TARGET_MODULES, type TargetModule } from "./targets.ts";
import { parseNumber } from "./values.ts";

type Counters = readonly [packets: number, bytes: number];

export interface RuleContext {
  readonly family: Family;
  readonly table: TableName;
  /** Whether a chain of the table has the name, and whether the kernel calls it or rules do. */
  chainKind(name: string): "built-in" | "user" | undefined;
  readonly sets: SetNames;
  missingSet(at: Word, name: string): void;
  readonly issues: ImportIssues;
  readonly line: number;
  /** Where the rule stands, for issues: `filter FORWARD 3`. */
  readonly path: string;
  /** `[packets:bytes]` before the rule. */
  readonly counters?: Counters;
}

/** Option names with the same meaning; the one on the right is used from here on. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ["--source", "-s"],
  ["--src", "-s"],
  ["--destination", "-d"],
  ["--dst", "-d"],
  ["--in-interface", "-i"],
  ["--out-interface", "-o"],
  ["--protocol", "-p"],
  ["--proto", "-p"],
  ["--fragment", "-f"],
  ["--match", "-m"],
  ["--jump", "-j"],
  ["--goto", "-g"],
  ["--set-counters", "-c"],
  ["--ipv4", "-4"],
  ["--ipv6", "-6"],
  ["--source-port", "--sport"],
  ["--destination-port", "--dport"],
  ["--source-ports", "--sports"],
  ["--destination-ports", "--dports"],
  ["--port", "--ports"],
]);

/** A `-m` or `-j` with the options that came for it. */
interface Section {
  readonly name: string;
  readonly at: Word;
  readonly given: Given[];
  readonly options: Readonly<Record<string, number>>;
  /** Something that its module, as we know it, does not take. */
  strange: boolean;
}

type Item = { readonly kind: "match"; readonly match: Match } | { readonly kind: "module"; readonly section: Section };

/** Undefined: the rule is wrong, and an error was reported. */
export function parseRule(words: readonly Word[], context: RuleContext): Rule | undefined {
  return new RuleReader(words, context).read();
}

class RuleReader {
  readonly #words: readonly Word[];
  readonly #context: RuleContext;
  #counters: Counters | undefined;
  #next = 0;
  #failed = false;
  readonly #items: Item[] = [];
  /** Which section an option belongs to. */
  readonly #owners = new Map<string, Section>();
  #lastSection: Section | undefined;
  /** Options seen that may stand only once. */
  readonly #stood = new Set<string>();
  #protocol: number | undefined;
  #target:
    | { readonly kind: "chain"; readonly target: Target }
    | { readonly kind: "section"; readonly section: Section }
    | undefined;

  constructor(words: readonly Word[], context: RuleContext) {
    this.#words = words;
    this.#context = context;
    this.#counters = context.counters;
  }

  read(): Rule | undefined {
    while (this.#next < this.#words.length && !this.#failed) this.#option();
    if (this.#failed) return undefined;
    const scope = this.#scope();
    const matches = this.#items.flatMap((item) =>
      item.kind === "match" ? item.match : this.#matches(item.section, scope),
    );
    const target = this.#buildTarget(scope);
    if (this.#failed) return undefined;
    return {
      matches,
      ...(target !== undefined && { target }),
      ...(this.#counters !== undefined && { counters: this.#counters }),
    };
  }

  #option(): void {
    const first = this.#take();
    if (first === undefined) return;
    let at = first;
    const negate = at.raw === "!";
    if (negate) {
      const after = this.#take();
      if (after === undefined) {
        this.#error(at, "bad-rule", "nothing to negate after !");
        return;
      }
      at = after;
    }
    if (!isOption(at)) {
      this.#stray(at);
      return;
    }
    const equals = at.text.startsWith("--") ? at.text.indexOf("=") : -1;
    const written = equals < 0 ? at.text : at.text.slice(0, equals);
    const inline = equals < 0 ? undefined : { ...at, text: at.text.slice(equals + 1), raw: at.raw.slice(equals + 1) };
    this.#dispatch({ name: ALIASES.get(written) ?? written, at, negate, inline });
  }

  #dispatch(option: OptionStart): void {
    if (HEADER_OPTIONS[option.name] !== undefined) this.#headerOption(option);
    else if (option.name === "-m") this.#useName(option, (name) => this.#loadMatch(name));
    else if (option.name === "-j" || option.name === "-g") this.#targetOption(option);
    else if (option.name === "-c") this.#setCounters(option);
    else if (option.name !== "-4" && option.name !== "-6") this.#moduleOption(option);
  }

  #headerOption(option: OptionStart): void {
    if (this.#isRepeated(option, option.name)) return;
    const given = this.#given(option, HEADER_OPTIONS[option.name] ?? 0);
    if (given === undefined) return;
    const reading = readHeader(given, this.#context.family);
    switch (reading.kind) {
      case "match":
        this.#items.push(reading);
        if (reading.match.kind === "protocol" && !reading.match.negate) this.#protocol = reading.match.protocol;
        return;
      case "always":
        return;
      case "unrepresented": {
        const text = `${given.negate ? "! " : ""}${given.name} ${valueAt(given).raw}`;
        this.#unrepresented(given.at, text);
        this.#items.push({ kind: "match", match: { kind: "opaque", text } });
        return;
      }
      case "wrong":
        this.#error(given.values[0] ?? given.at, reading.code, reading.message);
    }
  }

  #targetOption(option: OptionStart): void {
    if (this.#isRepeated(option, "target")) return;
    this.#useName(option, (name) => (option.name === "-j" ? this.#jump(name) : this.#goto(name)));
  }

  /** Whether the option, which stands once in a rule, has stood before. */
  #isRepeated(option: OptionStart, what: string): boolean {
    const repeated = this.#stood.has(what);
    if (repeated) this.#error(option.at, "repeated-option", `${option.at.text}: stands more than once in a rule`);
    this.#stood.add(what);
    return repeated;
  }

  /** `-m`, `-j` and `-g` take a name and no `!`. */
  #useName(option: OptionStart, use: (name: Word) => void): void {
    const given = this.#given(option, 1);
    const name = given?.values[0];
    if (given === undefined || name === undefined) return;
    if (given.negate) this.#error(option.at, "bad-rule", `${option.at.text} cannot be negated`);
    else use(name);
  }

  #loadMatch(name: Word): void {
    if (!/^[A-Za-z0-9_-]+$/.test(name.text)) {
      this.#error(name, "bad-value", `-m ${shorten(name.raw)}: want the name of a match module`);
      return;
    }
    const module = MATCH_MODULES.get(name.text);
    this.#items.push({ kind: "module", section: this.#open(name, name.text, module) });
  }

  #open(at: Word, name: string, module: MatchModule | TargetModule | undefined): Section {
    const section: Section = { name, at, given: [], options: module?.options ?? {}, strange: false };
    for (const option of Object.keys(section.options)) this.#owners.set(option, section);
    this.#lastSection = section;
    return section;
  }

  #jump(name: Word): void {
    const kind = this.#context.chainKind(name.text);
    const module = TARGET_MODULES.get(name.text);
    if (kind === "user") this.#toChain({ kind: "jump", chain: name.text });
    else if (module !== undefined && kind === undefined) {
      this.#target = { kind: "section", section: this.#open(name, name.text, module) };
    } else this.#noChain("-j", name, kind);
  }

  #goto(name: Word): void {
    const kind = this.#context.chainKind(name.text);
    if (kind === "user") this.#toChain({ kind: "goto", chain: name.text });
    else this.#noChain("-g", name, kind);
  }

  #toChain(target: Target): void {
    this.#target = { kind: "chain", target };
    this.#lastSection = undefined; // a chain takes no options
  }

  #noChain(option: string, name: Word, kind: "built-in" | undefined): void {
    const { table } = this.#context;
    if (kind === "built-in") {
      this.#error(
        name,
        "missing-chain",
        `${option} ${shorten(name.raw)}: a rule cannot send a packet to a built-in chain`,
      );
      return;
    }
    const what = option === "-j" ? "neither a chain declared in table" : "no chain declared in table";
    const end = option === "-j" ? " nor a target" : "";
    this.#error(name, "missing-chain", `${option} ${shorten(name.raw)}: ${what} ${table}${end}`);
  }

  #setCounters(option: OptionStart): void {
    const given = this.#given(option, 2);
    const [packets, bytes] = given?.values.map(({ text }) => parseNumber(text, Number.MAX_VALUE)) ?? [];
    if (given === undefined) return;
    if (packets === undefined || bytes === undefined) {
      this.#error(option.at, "bad-value", `${shorten(given.raw)}: want two numbers, packets and bytes`);
      return;
    }
    this.#counters = [packets, bytes];
  }

  #moduleOption(option: OptionStart): void {
    let section = this.#owners.get(option.name);
    if (section === undefined) {
      const implied = protocolModule(this.#protocol);
      const module = implied === undefined ? undefined : MATCH_MODULES.get(implied);
      if (implied !== undefined && module?.options[option.name] !== undefined) {
        section = this.#open(option.at, implied, module);
        this.#items.push({ kind: "module", section });
      }
    }
    if (section === undefined) {
      this.#strangeOption(option);
      return;
    }
    const given = this.#given(option, section.options[option.name] ?? 0);
    if (given === undefined) return;
    if (section.given.some(({ name }) => name === given.name)) {
      this.#error(option.at, "repeated-option", `${given.name}: stands more than once for ${section.name}`);
      return;
    }
    if (given.negate && this.#target?.kind === "section" && this.#target.section === section) {
      this.#error(option.at, "bad-rule", `${given.name} cannot be negated`);
      return;
    }
    section.given.push(given);
  }

  /** An option we do not have: it belongs to what was loaded last, with all that follows up to the next option. */
  #strangeOption(option: OptionStart): void {
    const section = this.#lastSection;
    if (section === undefined) {
      this.#error(option.at, "unknown-option", `${shorten(option.at.raw)}: no option of iptables`);
      return;
    }
    let count = 0;
    while (isValue(this.#words[this.#next + count])) count++;
    const given = this.#given(option, option.inline === undefined ? count : count + 1);
    if (given === undefined) return;
    section.given.push(given);
    section.strange = true;
  }

  /** A word where an option should be. */
  #stray(word: Word): void {
    const next = this.#words[this.#next];
    const section = this.#lastSection;
    // What the save commands print for a match or target of a revision they are too old or too new for.
    if (section !== undefined && word.text === "[unsupported" && next?.text === "revision]") {
      this.#next++;
      section.given.push({ name: "", negate: false, values: [], at: word, raw: "[unsupported revision]" });
      section.strange = true;
      return;
    }
    this.#error(word, "bad-rule", `${shorten(word.raw)}: unexpected here; want an option`);
  }

  /** The option with its values, or an error when they are missing. An old `--dport ! 80` is read as `! --dport 80`. */
  #given(option: OptionStart, arity: number): Given | undefined {
    const { at, name, inline } = option;
    let { negate } = option;
    const values: Word[] = inline === undefined ? [] : [inline];
    if (values.length === 0 && arity > 0 && this.#words[this.#next]?.raw === "!" && !negate) {
      negate = true;
      this.#next++;
    }
    while (values.length < arity) {
      const value = this.#take();
      if (value === undefined) {
        this.#error(at, "missing-value", `${shorten(at.raw)}: wants ${arity === 1 ? "a value" : `${arity} values`}`);
        return undefined;
      }
      values.push(value);
    }
    const spelled = inline === undefined ? [at.raw, ...values.map(({ raw }) => raw)] : [at.raw];
    return { name, negate, values, at, raw: `${negate ? "! " : ""}${spelled.join(" ")}` };
  }

  #matches(section: Section, scope: RuleScope): readonly Match[] {
    const module = MATCH_MODULES.get(section.name);
    if (module === undefined || section.strange) {
      const match = opaqueMatch(section.name, section.given);
      this.#unrepresented(section.at, match.text);
      return [match];
    }
    if (section.given.length === 0 && !mayStandAlone(section.name)) {
      this.#error(section.at, "missing-option", `-m ${section.name}: wants an option`);
      return [];
    }
    const needed = neededProtocols(section.name);
    if (needed !== undefined && (scope.protocol === undefined || !needed.includes(scope.protocol))) {
      this.#error(section.at, "bad-rule", `-m ${section.name} needs -p ${needed.map(protocolName).join(" or -p ")}`);
      return [];
    }
    return module.build(section.given, scope);
  }

  #buildTarget(scope: RuleScope): Target | undefined {
    if (this.#target?.kind !== "section") return this.#target?.target;
    const { section } = this.#target;
    const module = TARGET_MODULES.get(section.name);
    const use = { name: section.name, at: section.at, given: section.given };
    // Whatever options a passing target has, the packet passes.
    if (module === undefined || (section.strange && !module.passing)) return opaqueTarget(use, scope);
    return module.build(use, scope);
  }

  #scope(): RuleScope {
    const { family, table, sets } = this.#context;
    const module = this.#target?.kind === "section" ? TARGET_MODULES.get(this.#target.section.name) : undefined;
    return {
      family,
      table,
      sets,
      protocol: this.#protocol,
      passing: this.#target === undefined || module?.passing === true,
      error: (at, code, message) => this.#error(at, code, message),
      unrepresented: (at, what) => this.#unrepresented(at, what),
      missingSet: (at, name) => this.#context.missingSet(at, name),
    };
  }

  #take(): Word | undefined {
    const word = this.#words[this.#next];
    if (word !== undefined) this.#next++;
    return word;
  }

  #error(at: Word, code: string, message: string): void {
    this.#failed = true;
    const { issues, line, path } = this.#context;
    issues.error({ code, line, column: at.column, message, path });
  }

  #unrepresented(at: Word, what: string): void {
    const { issues, line, path } = this.#context;
    const message = `${shorten(what)}: not represented; a packet that gets here has verdict unknown`;
    issues.warning({ code: "not-represented", line, column: at.column, message, path });
  }
}

interface OptionStart {
  readonly name: string;
  readonly at: Word;
  readonly negate: boolean;
  /** The value of `--option=value`. */
  readonly inline: Word | undefined;
}

/** `-s` or `--sport`, not quoted. */
function isOption(word: Word): boolean {
  return /^-[-A-Za-z0-9]/.test(word.raw);
}

function isValue(word: Word | undefined): boolean {
  return word !== undefined && word.raw !== "!" && !isOption(word);
}
