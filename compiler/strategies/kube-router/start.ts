/**
 * How kube-router starts on a node where it has never run: the chains that do not depend on pods, one command each, then
 * its first sync. Before it come probes and, of the other mode's tables of nftables, a creation and a deletion, which
 * leave nothing.
 *
 * Left to chance: the order of the hooks (a Go map). Source: cloudnativelabs/kube-router 7c2c2779 pkg/controllers/netpol
 * `ensureTopLevelChains` and what follows it; dumps/updates/kube-router, step-0.
 */
import { type Family, formatCidr } from "../../../dataplane/address.ts";
import { PROTOCOL } from "../../../dataplane/packet.ts";
import type { Chain, IPSet, Match, Rule, Target } from "../../../dataplane/program.ts";
import { ipsetCall, plainTarget, tableCall } from "../../update/commands.ts";
import { carriedOut, emptied, type Start } from "../../update/controller.ts";
import type { Operation, RuleCommand } from "../../update/operation.ts";
import { COMMON_CHAIN, DEFAULT_CHAIN, isLocalPodsSet, TAIL_CHAIN, TOP_LEVEL } from "./names.ts";
import type { PlannedSync } from "./update.ts";

const CAUSE = "start";
const HOOKS = ["INPUT", "FORWARD", "OUTPUT"] as const;

export function startOf(
  program: PlannedSync["program"],
  sync: (before: PlannedSync["program"]) => readonly Operation[],
): Start {
  const before = emptied(program);
  const families = program.families.map(({ family, tables }) => {
    const filter = tables.find(({ name }) => name === "filter");
    const chains = new Map(filter?.chains.map((chain) => [chain.name, chain]));
    return new FamilyStart(family, chains);
  });
  const fixed = [
    ...families.flatMap((family) => HOOKS.flatMap((hook) => family.hook(hook))),
    ...families.flatMap((family) => family.exemptions()),
    ...[DEFAULT_CHAIN, COMMON_CHAIN].flatMap((name) => families.flatMap((family) => family.chain(name))),
    // The last chain may ask for it.
    ...program.sets.filter(isLocalPodsSet).map(createEmpty),
    ...families.flatMap((family) => family.chain(TAIL_CHAIN)),
  ];
  const started = carriedOut(before, fixed);
  if (started.kind !== "tables") throw new Error("kube-router programs tables");
  return { before, operations: [...fixed, ...sync(started)] };
}

function createEmpty({ members: _, ...set }: IPSet): Operation {
  const family = set.family === 4 ? [] : ["family", "inet6"];
  return ipsetCall(
    ["create", "-exist", set.name, set.type, "timeout", "0", ...family],
    { verb: "create", set, tolerant: true },
    CAUSE,
  );
}

class FamilyStart {
  readonly #family: Family;
  readonly #chains: ReadonlyMap<string, Chain>;

  constructor(family: Family, chains: ReadonlyMap<string, Chain>) {
    this.#family = family;
    this.#chains = chains;
  }

  hook(hook: (typeof HOOKS)[number]): readonly Operation[] {
    return [this.#create(TOP_LEVEL[hook]), ...this.#rulesOf(hook).map((rule, at) => this.#insert(hook, at + 1, rule))];
  }

  exemptions(): readonly Operation[] {
    return this.#rulesOf(TOP_LEVEL.INPUT)
      .filter(({ target }) => target?.kind === "return")
      .map((rule, at) => this.#insert(TOP_LEVEL.INPUT, at + 1, rule));
  }

  chain(chain: string): readonly Operation[] {
    const appended = this.#rulesOf(chain).map((rule) =>
      this.#call(["-A", chain, ...this.#words(rule)], { verb: "append", chain, rule }),
    );
    return [this.#create(chain), ...appended];
  }

  #rulesOf(chain: string): readonly Rule[] {
    return this.#chains.get(chain)?.rules ?? [];
  }

  #create(chain: string): Operation {
    return this.#call(["-N", chain], { verb: "create", chain });
  }

  #insert(chain: string, at: number, rule: Rule): Operation {
    return this.#call(["-I", chain, String(at), ...this.#words(rule)], { verb: "insert", chain, at, rule });
  }

  #call(args: readonly string[], command: RuleCommand): Operation {
    return tableCall({
      family: this.#family,
      table: "filter",
      args: ["-t", "filter", ...args, "--wait"],
      command,
      cause: CAUSE,
    });
  }

  /** As the source has them: the comment of ICMP rules in front, that of a mark's rule behind the target's name. */
  #words({ matches, target }: Rule): readonly string[] {
    const isFirst = ({ kind }: Match) => kind === "comment";
    const ordered = matches.some(({ kind }) => kind === "icmp")
      ? [...matches.filter(isFirst), ...matches.filter((match) => !isFirst(match))]
      : matches;
    const words = ordered.flatMap(matchWords);
    if (target?.kind === "mark") return ["-j", "MARK", ...words, "--set-xmark", maskText(target)];
    return [...words, ...(target === undefined ? [] : targetWords(target))];
  }
}

const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map([
  [PROTOCOL.tcp, "tcp"],
  [PROTOCOL.udp, "udp"],
  [PROTOCOL.sctp, "sctp"],
  [PROTOCOL.icmp, "icmp"],
  [PROTOCOL.icmpv6, "ipv6-icmp"],
]);

const ICMP_NAMES: Readonly<Record<Family, ReadonlyMap<number, string>>> = {
  4: new Map([
    [8, "echo-request"],
    [3, "destination-unreachable"],
    [11, "time-exceeded"],
  ]),
  6: new Map([
    [128, "echo-request"],
    [1, "destination-unreachable"],
    [3, "time-exceeded"],
    [135, "neighbor-solicitation"],
    [136, "neighbor-advertisement"],
    [129, "echo-reply"],
  ]),
};

function matchWords(match: Match): readonly string[] {
  switch (match.kind) {
    case "comment":
      return ["-m", "comment", "--comment", match.text];
    case "protocol":
      return ["-p", PROTOCOL_NAMES.get(match.protocol) ?? String(match.protocol)];
    case "address":
      return [match.side === "source" ? "-s" : "-d", formatCidr(match.cidr)];
    case "addressType":
      return ["-m", "addrtype", `--${match.side === "source" ? "src" : "dst"}-type`, match.type];
    case "ports": {
      const [{ first, last } = { first: 0, last: 0 }] = match.ranges;
      return ["-m", "multiport", "--dports", `${first}:${last}`];
    }
    case "ctState":
      return ["-m", "conntrack", "--ctstate", match.states.map((state) => state.toUpperCase()).join(",")];
    case "icmp": {
      const name = ICMP_NAMES[match.family].get(match.type) ?? String(match.type);
      return [match.family === 4 ? "--icmp-type" : "--icmpv6-type", name];
    }
    case "mark":
      return ["-m", "mark", ...(match.negate ? ["!"] : []), "--mark", maskText(match)];
    case "set": {
      const side = match.sides[0] === "source" ? "src" : "dst";
      return ["-m", "set", ...(match.negate ? ["!"] : []), "--match-set", match.set, side];
    }
    default:
      throw new Error(`kube-router starts with no ${match.kind} match`);
  }
}

function targetWords(target: Target): readonly string[] {
  const words = target.kind === "reject" ? ["-j", "REJECT"] : plainTarget(target);
  if (words === undefined) throw new Error(`kube-router starts with no ${target.kind} target`);
  return words;
}

function maskText({ value, mask }: { readonly value: number; readonly mask: number }): string {
  return `0x${value.toString(16)}/0x${mask.toString(16)}`;
}
