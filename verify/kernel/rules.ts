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
 * The judge's own table, in nftables beside whatever the variant uses, which rules of neither variant can see:
 *
 * - It keeps connection tracking on, as it is on every real node, whether or not a rule of the program asks for it.
 * - It drops what the node says by itself when devices come up (IGMP, MLD), before anybody mistakes it for an answer.
 * - `accepted`, behind everything in INPUT, the connection's confirmation included: reports to the helper that the packet
 *   was let in, and ends it there, so that no socket answers (an answer would change the connection, and a RST from a
 *   closed port looks like REJECT).
 * - `trace` sets the trace bit on packets of ours, which both variants obey; so no rule number of the program shifts.
 *
 * Equal priorities run in order of registration, so it is loaded anew after each program, tracking before `accepted`.
 */
function judgeTable(trace: boolean): string {
  const traced = trace
    ? `chain trace_arriving {
    type filter hook prerouting priority -2000; policy accept;
    meta nftrace set 1
  }
  chain trace_sent {
    type filter hook output priority -2000; policy accept;
    meta priority 0:6 meta nftrace set 1
  }`
    : "";
  return `table inet chainwalk
delete table inet chainwalk
table inet chainwalk {
  ${traced}
  chain noise {
    type filter hook output priority -2001; policy accept;
    meta priority != 0:6 ip protocol igmp drop
    meta priority != 0:6 ip6 saddr :: drop
  }
  chain tracking {
    type filter hook output priority -2001; policy accept;
    ct state new
  }
}
`;
}

const ACCEPTED = `table inet chainwalk {
  chain accepted {
    type filter hook input priority 2147483647; policy accept;
    log group 1
    drop
  }
}
`;

export interface LoadOptions {
  readonly variant: Variant;
  /** Whether packets carry the trace bit. */
  readonly trace: boolean;
}

/** One loader per namespace: it knows which tables an earlier program has touched, and empties them first. */
export class RuleLoader {
  readonly #oracle: Oracle;
  readonly #touched = new Map<string, { variant: Variant; family: Family; table: TableName }>();
  #hasSets = false;

  constructor(oracle: Oracle) {
    this.#oracle = oracle;
  }

  /** Replaces whatever was loaded. Throws with the tool's words when the kernel or the tool refuses the text. */
  load(text: RuleText, options: LoadOptions): void {
    const steps: string[] = [];
    for (const { variant, family, table } of this.#touched.values()) {
      steps.push(feed(restoreCommand(variant, family), emptyTable(table)));
    }
    if (this.#hasSets) steps.push("ipset destroy");
    this.#touched.clear();
    this.#hasSets = text.sets !== undefined && text.sets.trim() !== "";
    if (this.#hasSets) steps.push(feed("ipset restore", text.sets ?? ""));
    for (const [family, rules] of [
      [4, text.ipv4],
      [6, text.ipv6],
    ] as const) {
      if (rules === undefined || rules.trim() === "") continue;
      steps.push(feed(restoreCommand(options.variant, family), rules));
      for (const table of tablesOf(rules)) {
        this.#touched.set(`${options.variant} ${family} ${table}`, { variant: options.variant, family, table });
      }
    }
    steps.push(feed("nft -f -", judgeTable(options.trace)), feed("nft -f -", ACCEPTED));
    this.#oracle.run(steps.join("\n"));
  }

  /** What the namespace holds now, as the tools print it. */
  save(variant: Variant): Required<RuleText> {
    return {
      sets: this.#oracle.run("ipset save"),
      ipv4: this.#oracle.run(`iptables-${variant}-save`),
      ipv6: this.#oracle.run(`ip6tables-${variant}-save`),
    };
  }
}

function restoreCommand(variant: Variant, family: Family): string {
  // -w: another judge may hold the lock of the legacy tools for a moment.
  return `${family === 4 ? "iptables" : "ip6tables"}-${variant}-restore -w 20`;
}

/** A command with its input as a here-document; quoted, so that the shell reads nothing into it. */
function feed(command: string, input: string): string {
  let end = "CHAINWALK_END";
  while (input.includes(end)) end += "_";
  return `${command} <<'${end}'\n${input.endsWith("\n") ? input : `${input}\n`}${end}`;
}

/** Listens for legacy traces: which logger writes them is a setting of the namespace. */
export const LEGACY_TRACE_SCRIPT = `echo nfnetlink_log > /proc/sys/net/netfilter/nf_log/2
echo nfnetlink_log > /proc/sys/net/netfilter/nf_log/10`;
