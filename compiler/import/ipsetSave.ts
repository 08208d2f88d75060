/**
 * `ipset save`: text -> sets.
 *
 *     create NAME TYPE [options]
 *     add NAME ENTRY [options]
 *
 * Entries that expire count as there: a save is one moment, and packets walk at it. Counters, timeouts and the like are
 * no part of a verdict and are left out, but for what the renderer prints of a set's creation.
 */
import type { Family } from "../../dataplane/address.ts";
import type { IPSet, IPSetMember, IPSetOptions, IPSetType } from "../../dataplane/program.ts";
import { SET_NAME_MAX_BYTES, unsafeName } from "../names.ts";
import { type ImportIssues, shorten } from "./importIssues.ts";
import { type EntryReading, entryKey, parseEntry } from "./ipsetEntry.ts";
import { type Line, linesOf, type SaveFile, splitWords, type Word } from "./lines.ts";
import type { SetNames } from "./scope.ts";
import { MAX_UINT32, parseNumber } from "./values.ts";

export interface ImportedSets extends SetNames {
  /** To be asked for when all rules were read: of which family an empty list is, only they say. */
  sets(): readonly IPSet[];
}

/** Types of ipset(8) that the instruction set lacks. */
const OTHER_TYPES: ReadonlySet<string> = new Set([
  "bitmap:ip",
  "bitmap:ip,mac",
  "bitmap:port",
  "hash:mac",
  "hash:ip,mac",
  "hash:ip,mark",
  "hash:ip,port,ip",
  "hash:ip,port,net",
  "hash:net,net",
  "hash:net,port,net",
  "hash:net,iface",
]);

const TYPES: ReadonlySet<string> = new Set<IPSetType>([
  "hash:ip",
  "hash:net",
  "hash:ip,port",
  "hash:net,port",
  "list:set",
]);

function isSupported(type: string): type is IPSetType {
  return TYPES.has(type);
}

/** Creation options with a number. */
const NUMBER_OPTIONS = ["hashsize", "maxelem", "timeout", "size", "bucketsize", "initval", "netmask", "markmask"];
/** Creation options without a value. */
const FLAG_OPTIONS = ["counters", "comment", "skbinfo", "forceadd"];
/** What may follow an entry, with the number of its values. */
const ENTRY_OPTIONS: ReadonlyMap<string, number> = new Map([
  ["timeout", 1],
  ["packets", 1],
  ["bytes", 1],
  ["comment", 1],
  ["skbmark", 1],
  ["skbprio", 1],
  ["skbqueue", 1],
  ["nomatch", 0],
]);

/**
 * Ranges become entries one by one, as in the kernel. `ipset save` prints none, so that all ports of one address in the
 * whole file are enough for what people write, and no text can fill the memory.
 */
const MAX_FROM_RANGES = 65_536;

interface OpenSet {
  readonly name: string;
  readonly type: IPSetType;
  /** Undefined for list:set, until a member or a rule says it. */
  family: Family | undefined;
  readonly options: IPSetOptions;
  /** Bits of an address that the set keeps (`netmask`); undefined: all. */
  readonly netmask: number | undefined;
  readonly members: IPSetMember[];
  readonly keys: Set<string | number>;
  expires: boolean;
}

export function parseIpsetSave(file: SaveFile, issues: ImportIssues): ImportedSets {
  return new IpsetReader(issues).read(file);
}

class IpsetReader {
  readonly #issues: ImportIssues;
  readonly #sets = new Map<string, OpenSet | "unsupported">();
  #fromRanges = 0;

  constructor(issues: ImportIssues) {
    this.#issues = issues;
  }

  read(file: SaveFile): ImportedSets {
    let isSave = false;
    for (const line of linesOf(file.text)) {
      // Skipped before it is split: a quote in it opens nothing (ipset.c `ipset_parse_stream`).
      if (/^\s*#/.test(line.text)) continue;
      const split = splitWords(line.text, "ipset");
      if (split.kind === "wrong") {
        this.#error(line, split, "bad-line", split.message);
        continue;
      }
      const [verb, ...rest] = split.words;
      if (verb === undefined) continue;
      if (verb.text === "create") this.#create(line, verb, rest);
      else if (verb.text === "add") this.#add(line, verb, rest);
      else {
        const wanted = isSave ? "want create or add" : "want the output of ipset save";
        this.#error(line, verb, isSave ? "unknown-line" : "not-a-save", `${shorten(verb.raw)}: ${wanted}`);
        if (!isSave) break;
      }
      isSave = true;
    }
    return { sets: () => this.#supported(), status: (name, family) => this.#status(name, family) };
  }

  #supported(): readonly IPSet[] {
    return [...this.#sets.values()].filter((set) => set !== "unsupported").map((set) => this.#close(set));
  }

  #status(name: string, family: Family): ReturnType<SetNames["status"]> {
    const set = this.#sets.get(name);
    if (set === undefined) return "missing";
    if (set === "unsupported") return "unsupported";
    set.family ??= family;
    return "known";
  }

  #create(line: Line, verb: Word, [name, type, ...options]: readonly Word[]): void {
    if (name === undefined || type === undefined) {
      this.#error(line, verb, "missing-value", "create wants a name and a type");
      return;
    }
    if (this.#sets.has(name.text)) {
      this.#error(line, name, "duplicate-set", `${shorten(name.raw)}: created twice`);
      return;
    }
    const unsafe = unsafeName(name.text, SET_NAME_MAX_BYTES);
    if (unsafe !== undefined) {
      this.#error(line, name, "bad-name", `set name ${shorten(name.raw)} ${unsafe}`);
      return;
    }
    if (!isSupported(type.text)) {
      this.#sets.set(name.text, "unsupported");
      if (!OTHER_TYPES.has(type.text)) {
        this.#error(line, type, "unknown-set-type", `${shorten(type.raw)}: no type of ipset`);
        return;
      }
      this.#unsupported(line, type, name.text, `type ${type.text}`);
      return;
    }
    this.#sets.set(name.text, this.#open(line, name, type.text, options) ?? "unsupported");
  }

  #open(line: Line, name: Word, type: IPSetType, words: readonly Word[]): OpenSet | undefined {
    const numbers = new Map<string, number>();
    const flags = new Set<string>();
    let family: Family | undefined = type === "list:set" ? undefined : 4;
    for (let at = 0; at < words.length; at++) {
      const option = words[at];
      if (option === undefined) break;
      const value = words[at + 1];
      if (FLAG_OPTIONS.includes(option.text)) flags.add(option.text);
      else if (option.text === "family") {
        if (value?.text !== "inet" && value?.text !== "inet6") {
          this.#error(line, value ?? option, "bad-value", "family: want inet or inet6");
          return undefined;
        }
        family = value.text === "inet6" ? 6 : 4;
        at++;
      } else if (NUMBER_OPTIONS.includes(option.text)) {
        const number = value === undefined ? undefined : parseNumber(value.text, MAX_UINT32);
        if (number === undefined) {
          this.#error(line, value ?? option, "bad-value", `${option.text}: want a number up to ${MAX_UINT32}`);
          return undefined;
        }
        numbers.set(option.text, number);
        at++;
      } else {
        this.#unsupported(line, option, name.text, `option ${shorten(option.raw)}`);
        return undefined;
      }
    }
    const bits = family === 6 ? 128 : 32;
    const netmask = numbers.get("netmask");
    if (netmask !== undefined && (netmask < 1 || netmask > bits || !type.startsWith("hash:ip"))) {
      this.#error(line, name, "bad-value", `netmask ${netmask}: want 1 to ${bits}, on a set of addresses`);
      return undefined;
    }
    return {
      name: name.text,
      type,
      family,
      options: optionsOf(numbers, flags),
      netmask: netmask === bits ? undefined : netmask,
      members: [],
      keys: new Set(),
      expires: false,
    };
  }

  #add(line: Line, verb: Word, [name, entry, ...options]: readonly Word[]): void {
    if (name === undefined || entry === undefined) {
      this.#error(line, verb, "missing-value", "add wants a set and an entry");
      return;
    }
    const set = this.#sets.get(name.text);
    if (set === undefined) {
      this.#error(line, name, "unknown-set", `${shorten(name.raw)}: no set of this name was created before`);
      return;
    }
    if (set === "unsupported") return;
    const given = this.#entryOptions(line, options);
    if (given === undefined) return;
    const reading = set.type === "list:set" ? this.#listEntry(line, set, entry) : this.#hashEntry(set, entry);
    if (reading.kind === "wrong") {
      this.#error(line, entry, "bad-entry", `${shorten(entry.raw)}: want ${reading.wanted}`);
      return;
    }
    if (given.nomatch && !set.type.startsWith("hash:net")) {
      this.#error(line, entry, "bad-entry", `nomatch: a ${set.type} set has no exceptions`);
      return;
    }
    this.#fromRanges += Math.max(0, reading.members.length - 1);
    this.#warnOfExpiry(line, set, given);
    for (const member of reading.members) {
      const key = entryKey(member);
      if (set.keys.has(key)) {
        this.#error(line, entry, "duplicate-entry", `${shorten(entry.raw)}: already in ${set.name}`);
        return;
      }
      set.keys.add(key);
      set.members.push({
        ...member,
        ...(given.nomatch && member.kind !== "set" && { nomatch: true }),
        ...(given.comment !== undefined && { comment: given.comment }),
      });
    }
  }

  #hashEntry(set: OpenSet, entry: Word): EntryReading {
    const { type, family = 4, netmask } = set;
    return parseEntry(entry.text, { type, family, netmask, room: 1 + MAX_FROM_RANGES - this.#fromRanges });
  }

  #listEntry(line: Line, list: OpenSet, entry: Word): EntryReading {
    const set = this.#sets.get(entry.text);
    if (set === undefined) return { kind: "wrong", wanted: "the name of a set created before" };
    if (set !== "unsupported" && set.type === "list:set") return { kind: "wrong", wanted: "a set that is no list:set" };
    const mixed = set !== "unsupported" && list.family !== undefined && list.family !== set.family;
    if (mixed) this.#unsupported(line, entry, list.name, "the mixed families");
    // A list with a member that we cannot test cannot be tested either.
    if (set === "unsupported" || mixed) {
      this.#sets.set(list.name, "unsupported");
      return { kind: "members", members: [] };
    }
    list.family = set.family;
    return { kind: "members", members: [{ kind: "set", set: set.name }] };
  }

  #warnOfExpiry(line: Line, set: OpenSet, { expiry }: EntryOptions): void {
    if (expiry === undefined || set.expires) return;
    set.expires = true;
    const message = `entries of ${set.name} expire; all that the save shows are taken as there to stay`;
    this.#issues.warning({
      code: "expiring-entries",
      line: line.number,
      column: expiry.column,
      message,
    });
  }

  #entryOptions(line: Line, words: readonly Word[]): EntryOptions | undefined {
    let nomatch = false;
    let comment: string | undefined;
    let expiry: Word | undefined;
    for (let at = 0; at < words.length; at++) {
      const option = words[at];
      if (option === undefined) break;
      const arity = ENTRY_OPTIONS.get(option.text);
      const value = words[at + 1];
      if (arity === undefined || (arity === 1 && value === undefined)) {
        const known = [...ENTRY_OPTIONS.keys()].join(", ");
        const wanted = arity === undefined ? `want one of ${known}` : "wants a value";
        this.#error(line, option, "bad-entry", `${shorten(option.raw)}: ${wanted}`);
        return undefined;
      }
      at += arity;
      if (option.text === "nomatch") nomatch = true;
      if (option.text === "comment") comment = value?.text;
      if (option.text === "timeout" && value?.text !== "0") expiry = option;
    }
    return { nomatch, comment, expiry };
  }

  #close({ name, type, family, members, options, netmask }: OpenSet): IPSet {
    // A set of addresses that keeps only their first bits holds what a set of prefixes of that length holds.
    const held = netmask === undefined ? type : type === "hash:ip" ? "hash:net" : "hash:net,port";
    return { name, type: held, family: family ?? 4, members, options };
  }

  #unsupported(line: Line, at: Word, name: string, what: string): void {
    const message = `${what} of set ${name}: not represented; a packet that is looked up in it has verdict unknown`;
    this.#issues.warning({ code: "not-represented", line: line.number, column: at.column, message });
  }

  #error(line: Line, at: Pick<Word, "column">, code: string, message: string): void {
    this.#issues.error({ code, line: line.number, column: at.column, message });
  }
}

interface EntryOptions {
  readonly nomatch: boolean;
  readonly comment: string | undefined;
  /** The timeout, where it is not "never". */
  readonly expiry: Word | undefined;
}

function optionsOf(numbers: ReadonlyMap<string, number>, flags: ReadonlySet<string>): IPSetOptions {
  const hashSize = numbers.get("hashsize");
  const maxElements = numbers.get("maxelem");
  const timeoutSeconds = numbers.get("timeout");
  const size = numbers.get("size");
  return {
    ...(hashSize !== undefined && { hashSize }),
    ...(maxElements !== undefined && { maxElements }),
    ...(timeoutSeconds !== undefined && { timeoutSeconds }),
    ...(flags.has("counters") && { counters: true }),
    ...(flags.has("comment") && { comment: true }),
    ...(size !== undefined && { size }),
  };
}
