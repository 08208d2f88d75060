/** Puts rules into the namespace with the tools a node uses, and takes them out again as text. */
import type { Family } from "../../dataplane/address.ts";
import { BUILT_IN_CHAINS, type TableName } from "../../dataplane/program.ts";
import type { Oracle } from "./oracle.ts";

/** Which of the two implementations of iptables. Their tables exist side by side and both filter. */
export type Variant = "legacy" | "nft";

/** What a node would be given; absent parts are not loaded. */
export interface RuleText {
  /** For `ipset restore`. */
  readonly sets?: string;
  /** For `iptables-restore` and `ip6tables-restore`. */
  readonly ipv4?: string;
  readonly ipv6?: string;
}

/** Tables of iptables; BUILT_IN_CHAINS has their chains. */
const TABLES: readonly TableName[] = ["raw", "mangle", "nat", "filter", "security"];

/** Tables of a restore text. */
function tablesOf(text: string): readonly TableName[] {
  return TABLES.filter((table) => new RegExp(`^\\*${table}$`, "m").test(text));
}

function emptyTable(table: TableName): string {
  return [`*${table}`, ...BUILT_IN_CHAINS[table].map((chain) => `:${chain} ACCEPT [0:0]`), "COMMIT", ""].join("\n");
}

/**
 * The judge's own rules, in nftables beside whatever the variant uses; rules of neither variant can see them.
 *
 * `accepted` comes after everything else in INPUT, the confirmation of the connection included: it reports that the packet
 * was let in and ends it there, so that no socket answers (the RST of a closed port would look like REJECT). Priorities
 * end where the confirmation has its own, and of chains with one priority the last one made runs first
 * (nf_hook_entries_grow). So this one is made before anything asks for connection tracking, and stays.
 */
const ACCEPTED = `table inet chainwalk_accepted {
  chain accepted {
    type filter hook input priority 2147483647; policy accept;
    log group 1 drop
  }
}
`;

/**
 * The others.
 *
 * - `answers` takes what the node says by itself, the RST or ICMP error of REJECT, reports it to the helper and ends it
 *   there. So the program's OUTPUT cannot refuse the answer and make REJECT look like DROP, and no answer meets connection
 *   tracking. Packets of ours have priority 6 (oracle.c). IGMP and MLD, which the node says whenever a timer wakes it, are
 *   nobody's answer.
 * - `tracking` asks for a connection state, which keeps connection tracking on, as it is on every real node, whether or not
 *   a rule of the program asks.
 * - `trace_*` set the trace bit, which both variants obey; so no rule of the program gets another number.
 */
function judgeTable(trace: boolean): string {
  return `table inet chainwalk {
  chain answers {
    type filter hook output priority -2001; policy accept;
    meta priority 0:6 accept
    ip protocol igmp drop
    ip6 saddr :: drop
    log group 2 drop
  }
  chain tracking {
    type filter hook output priority -2001; policy accept;
    ct state new
  }
${trace ? TRACE_CHAINS : ""}}
`;
}

const TRACE_CHAINS = `  chain trace_arriving {
    type filter hook prerouting priority -2000; policy accept;
    meta nftrace set 1
  }
  chain trace_sent {
    type filter hook output priority -2000; policy accept;
    meta nftrace set 1
  }
`;

export interface LoaderOptions {
  readonly variant: Variant;
  /** Whether packets carry the trace bit. */
  readonly trace: boolean;
}

/** One loader per namespace: it knows what an earlier program has left, and removes it first. */
export class RuleLoader {
  readonly #oracle: Oracle;
  readonly #variant: Variant;
  readonly #trace: boolean;
  readonly #touched: Readonly<Record<Family, Set<TableName>>> = { 4: new Set(), 6: new Set() };
  #hasSets = false;
  #isFirst = true;

  constructor(oracle: Oracle, { variant, trace }: LoaderOptions) {
    this.#oracle = oracle;
    this.#variant = variant;
    this.#trace = trace;
  }

  /** Replaces whatever was loaded. Rejects with the tool's words when the kernel or the tool refuses the text. */
  async load(text: RuleText): Promise<void> {
    const sets = text.sets?.trim() === "" ? undefined : text.sets;
    const rules = { 4: text.ipv4 ?? "", 6: text.ipv6 ?? "" };
    const steps: string[] = [];
    if (this.#isFirst) {
      // Two transactions, because their order matters.
      steps.push(feed("nft -f -", ACCEPTED), feed("nft -f -", judgeTable(this.#trace)));
    }
    for (const family of FAMILIES) {
      const left = [...this.#touched[family]];
      if (left.length > 0) steps.push(feed(this.#restore(family), left.map(emptyTable).join("")));
    }
    // A set cannot go while a rule or a list asks for it.
    const cleared = this.#hasSets ? "flush\ndestroy\n" : "";
    if (cleared !== "" || sets !== undefined) steps.push(feed("ipset restore", `${cleared}${sets ?? ""}`));
    for (const family of FAMILIES) {
      if (rules[family].trim() !== "") steps.push(feed(this.#restore(family), rules[family]));
    }
    this.#isFirst = false;
    this.#hasSets = this.#hasSets || sets !== undefined;
    for (const family of FAMILIES) for (const table of tablesOf(rules[family])) this.#touched[family].add(table);
    await this.#oracle.runAside(steps.join("\n"));
  }

  /** What the namespace holds now, as the tools print it. */
  save(): Required<RuleText> {
    return {
      sets: this.#oracle.run("ipset save"),
      ipv4: this.#oracle.run(`iptables-${this.#variant}-save`),
      ipv6: this.#oracle.run(`ip6tables-${this.#variant}-save`),
    };
  }

  #restore(family: Family): string {
    // -w: another judge may hold the lock of the legacy tools for a moment.
    return `${family === 4 ? "iptables" : "ip6tables"}-${this.#variant}-restore -w 20`;
  }
}

const FAMILIES = [4, 6] as const;

/** A command with its input as a here-document; quoted, so that the shell reads nothing into it. */
function feed(command: string, input: string): string {
  let end = "CHAINWALK_END";
  while (input.includes(end)) end += "_";
  return `${command} <<'${end}'\n${input.endsWith("\n") ? input : `${input}\n`}${end}`;
}

/** Listens for legacy traces: which logger writes them is a setting of the namespace. */
export const LEGACY_TRACE_SCRIPT = `echo nfnetlink_log > /proc/sys/net/netfilter/nf_log/2
echo nfnetlink_log > /proc/sys/net/netfilter/nf_log/10`;
