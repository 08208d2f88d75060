/**
 * How Romana takes a node to the next program: everything away, everything back.
 *
 *   iptables -A, -D       four rules for each pod of the node that comes or goes (the CNI plugin)
 *   ipset destroy         every set of the host, one after the other; those in use stay
 *   ipset flush           every set of the host
 *   ipset --exist -       every set and every element
 *   iptables-restore      every chain of Romana's, in one commit; chains no longer wanted go in the same
 *
 * The last four are a tick of the agent, which comes when a block was given or taken anywhere in the cluster, or a policy
 * was written or deleted. The listener writes the policy of a namespace that is open to all anew at each change of it,
 * and does nothing at all by an annotation that it cannot decode: the one before stays in force. From the flush to the end of the refill every set is empty while the rules stand. Labels lead to no tick, and the
 * listener looks at added and deleted policies alone: a changed one stays as it was until it is deleted.
 *
 * Left to chance: the order of policies and tenants (Go maps), names of interfaces (digits of the sandbox).
 * Source: romana/core 6139692f agent/enforcer, listener/resources.go, cni; dumps/updates/romana/NOTES.md.
 */
import { formatCidr } from "../../../dataplane/address.ts";
import type { Chain, IPSet, IPSetMember, Program, Rule } from "../../../dataplane/program.ts";
import { compareAge } from "../../age.ts";
import { type Endpoint, isOnPodNetwork, type Namespace, type NetworkPolicy } from "../../model.ts";
import { ruleText } from "../../render/iptablesSave.ts";
import { type ResolvedCluster, resolvePolicies } from "../../resolve.ts";
import {
  ipsetCall,
  ipsetRestore,
  type RuleLine,
  type SetLine,
  tableCall,
  tableRestore,
} from "../../update/commands.ts";
import { type Controller, emptied, runOperation } from "../../update/controller.ts";
import { type Burst, type ClusterEvent, eventText } from "../../update/events.ts";
import { NodeState } from "../../update/nodeState.ts";
import type { Operation } from "../../update/operation.ts";
import type { LowerOptions, Strategy } from "../strategy.ts";
import { isPlugged } from "./blocks.ts";
import { defaultPolicy, isolationAsked } from "./translate.ts";

export interface TickingOptions {
  readonly strategy: Pick<Strategy, "lower" | "attach">;
  /** What the agent wants, also where iptables would not take it for want of a set. */
  rendered(cluster: ResolvedCluster): Program;
  /** A namespace's set with its members of the other type (`isLeftOut`). */
  inOtherType(cluster: ResolvedCluster, set: IPSet): IPSet;
  readonly options: LowerOptions;
  interfaceOf(pod: Endpoint): string;
  /** `CHANGED_POLICIES_IGNORED` is made. */
  readonly ignoresChanges: boolean;
  /** `UNREAD_ANNOTATION_IGNORED` is made. */
  readonly ignoresUnread: boolean;
}

const TICK = "tick";
const LOCAL_BLOCKS = "localBlocks";

export function tickingController(
  start: ResolvedCluster,
  { strategy, rendered, inOtherType, options, interfaceOf, ignoresChanges, ignoresUnread }: TickingOptions,
): Controller {
  const state = new NodeState(strategy.lower(start, options));
  /** Policies in the version in which they were added. */
  const policies = new Map(start.model.policies.map((policy) => [policy.key, policy]));
  /** Namespaces by the version whose annotation is in force, where it is another than the present one. */
  const namespaces = new Map<string, Namespace>();
  let ticks = false;
  return {
    remembers: true,
    get program() {
      return state.program;
    },
    start() {
      const { program } = state;
      const before = emptied(program);
      const wanted = rendered(start);
      if (!hasAgentChains(wanted)) return { before, operations: [] };
      const operations: Operation[] = [];
      const live = new NodeState(before);
      const isTaken = tick(live, { wanted, otherwise: (set) => set }, (operation) => {
        runOperation(live, operation);
        operations.push(operation);
      });
      // The agent's first tick, then the CNI plugin, pod by pod.
      return { before, operations: isTaken ? [...operations, ...divertedPods(start)] : operations };
    },
    react(burst) {
      const operations: Operation[] = [];
      const run = (operation: Operation) => {
        runOperation(state, operation);
        operations.push(operation);
      };
      state.attach(strategy.attach(burst.after, options));
      const started = hasAgentChains(state.program);
      if (started) for (const event of burst.events) for (const operation of divert(event)) run(operation);
      for (const event of burst.events) {
        const isIgnored = ignoresChanges && event.verb === "MODIFIED";
        if (startsTick(event) || (event.kind === "NetworkPolicy" && !isIgnored)) ticks = true;
        if (event.kind === "Namespace" && writesPolicy(event)) ticks = true;
        if (event.kind !== "NetworkPolicy") continue;
        if (event.after === undefined) policies.delete(event.key);
        else if (!isIgnored) policies.set(event.key, event.after);
      }
      if (!burst.isLast || !ticks) return operations;
      ticks = false;
      const listened = asListened(burst, policies, namespaces);
      const wanted = rendered(listened);
      // Without a block the agent does nothing.
      if (!hasAgentChains(wanted)) return operations;
      const isTaken = tick(state, { wanted, otherwise: (set) => inOtherType(listened, set) }, run);
      if (started || !isTaken) return operations;
      // The plugin's rules need chains that only now are there; kubelet has it try again for every pod.
      for (const operation of divertedPods(burst.after)) run(operation);
      return operations;
    },
  };

  /** Whether the listener writes or deletes the policy of a namespace, which every agent hears. */
  function writesPolicy({ key, before, after }: Extract<ClusterEvent, { kind: "Namespace" }>): boolean {
    const inForce = namespaces.get(key) ?? before;
    namespaces.delete(key);
    const isUnread = after !== undefined && isolationAsked(after) === undefined;
    if (ignoresUnread && isUnread && inForce !== undefined) {
      namespaces.set(key, inForce);
      return false;
    }
    return isOpen(inForce) || isOpen(after);
  }

  /** The plugin's rules of the node's pods, oldest first. */
  function divertedPods(cluster: ResolvedCluster): readonly Operation[] {
    const pods = cluster.podsOn(options.node).filter(isPlugged);
    return pods.toSorted(compareAge).flatMap((pod) => divertRules(interfaceOf(pod), "-A", `CNI ADD ${pod.key}`));
  }

  function divert(event: ClusterEvent): readonly Operation[] {
    if (event.kind !== "Pod") return [];
    const isHere = (pod: Endpoint | undefined) =>
      pod !== undefined && pod.node === options.node && isOnPodNetwork(pod) && isPlugged(pod);
    const { before, after } = event;
    const [was, is] = [isHere(before), isHere(after)];
    if (was === is) return [];
    const pod = is ? after : before;
    return pod === undefined ? [] : divertRules(interfaceOf(pod), is ? "-A" : "-D", eventText(event));
  }
}

function hasAgentChains(program: Program): boolean {
  if (program.kind !== "tables") throw new Error("Romana programs tables");
  return filterChains(program).some(({ name }) => name === "ROMANA-FORWARD-IN");
}

function filterChains(program: Extract<Program, { kind: "tables" }>): readonly Chain[] {
  return program.families.flatMap(({ tables }) => tables.flatMap(({ chains }) => chains));
}

/** A block is given or taken; what policies and namespaces do is the listener's business. */
function startsTick(event: ClusterEvent): boolean {
  if (event.kind !== "Pod") return false;
  const has = (pod: Endpoint | undefined) => pod !== undefined && isOnPodNetwork(pod);
  return has(event.before) !== has(event.after);
}

/** The listener keeps a policy for a namespace that is open to all, which hangs on an annotation. */
function isOpen(namespace: Namespace | undefined): boolean {
  return namespace !== undefined && defaultPolicy(namespace) !== undefined;
}

/** The cluster as the listener has taken it in. */
function asListened(
  { after }: Burst,
  policies: ReadonlyMap<string, NetworkPolicy>,
  namespaces: ReadonlyMap<string, Namespace>,
): ResolvedCluster {
  const { model } = after;
  const known = model.policies.map((policy) => policies.get(policy.key) ?? policy);
  if (namespaces.size === 0 && known.every((policy, index) => policy === model.policies[index])) return after;
  const open = model.namespaces.map((namespace) => namespaces.get(namespace.name) ?? namespace);
  return resolvePolicies({ ...model, policies: known, namespaces: open });
}

const DIVERTED = [
  ["INPUT", "in", "ROMANA-INPUT"],
  ["FORWARD", "in", "ROMANA-FORWARD-OUT"],
  ["FORWARD", "out", "ROMANA-FORWARD-IN"],
  ["OUTPUT", "out", "ROMANA-OUTPUT"],
] as const;

function divertRules(name: string, verb: "-A" | "-D", cause: string): readonly Operation[] {
  return DIVERTED.map(([chain, side, to]) => {
    const rule: Rule = {
      matches: [{ kind: "interface", side, name, negate: false }],
      target: { kind: "jump", chain: to },
    };
    const args = ["-t", "filter", verb, chain, side === "in" ? "-i" : "-o", name, "-j", to];
    const command =
      verb === "-A" ? ({ verb: "append", chain, rule } as const) : ({ verb: "delete", chain, rule } as const);
    return tableCall({ family: 4, table: "filter", args, command, cause });
  });
}

interface Wanted {
  readonly wanted: Program;
  /** A set in the other of its two types. */
  otherwise(set: IPSet): IPSet;
}

/** Runs a tick; whether iptables takes the rules, which it does when each set that they ask is there by then. */
function tick(state: NodeState, { wanted, otherwise }: Wanted, run: (operation: Operation) => void): boolean {
  if (wanted.kind !== "tables" || state.program.kind !== "tables") throw new Error("Romana programs tables");
  const chains = filterChains(wanted).filter(({ name }) => name.startsWith("ROMANA-"));
  const kept = new Set(chains.map(({ name }) => name));
  const stale = filterChains(state.program).filter(({ name }) => name.startsWith("ROMANA-") && !kept.has(name));
  for (const name of [...state.setNames]) {
    run({ ...ipsetCall(["destroy", name], { verb: "destroy", set: name }, TICK), mayFail: true });
  }
  run(ipsetCall(["flush"], { verb: "flush", set: undefined }, TICK));
  // A set that rules hold keeps its type, and ipset takes of what is added to it the members of that type.
  const held = new Map(state.program.sets.map(({ name, type }) => [name, type]));
  run(refill(wanted.sets.map((set) => ((held.get(set.name) ?? set.type) === set.type ? set : otherwise(set)))));
  const there = new Set(state.setNames);
  const isThere = (rule: Rule) => rule.matches.every((match) => match.kind !== "set" || there.has(match.set));
  if (!chains.every(({ rules }) => rules.every(isThere))) return false;
  run(restore(chains, stale));
  return true;
}

function refill(sets: readonly IPSet[]): Operation {
  const ordered = inOrder(sets);
  const lines: SetLine[] = [
    ...ordered.map(
      ({ members: _members, ...set }): SetLine => ({
        text: `create ${set.name} ${set.type} `,
        command: { verb: "create", set, tolerant: true },
      }),
    ),
    ...ordered.flatMap(({ name, members }) =>
      members.map(
        (member): SetLine => ({
          text: `add ${name} ${elementOf(member)}`,
          command: { verb: "add", set: name, member, tolerant: true },
        }),
      ),
    ),
  ];
  return ipsetRestore({ args: ["--exist", "-"], lines, cause: TICK, tail: ["quit", "quit"] });
}

/** Sets of policies, each tenant's sets with the list of them behind, the blocks of this host. */
function inOrder(sets: readonly IPSet[]): readonly IPSet[] {
  const lists = sets.filter(({ type }) => type === "list:set");
  const inLists = new Set(
    lists.flatMap(({ members }) => members.flatMap((each) => (each.kind === "set" ? [each.set] : []))),
  );
  const named = new Map(sets.map((set) => [set.name, set]));
  const others = sets.filter((set) => !lists.includes(set) && !inLists.has(set.name));
  return [
    ...others.filter(({ name }) => name !== LOCAL_BLOCKS),
    ...lists.flatMap((list) => [
      ...list.members.flatMap((member) => (member.kind === "set" ? (named.get(member.set) ?? []) : [])),
      list,
    ]),
    ...others.filter(({ name }) => name === LOCAL_BLOCKS),
  ];
}

/** Blocks of one address have their length as well. */
function elementOf(member: IPSetMember): string {
  return member.kind === "set" ? member.set : formatCidr(member.cidr);
}

/** The order in which the agent declares its own chains; those of policies follow, three each. */
const OWN = ["ROMANA-OUTPUT", "ROMANA-INPUT", "ROMANA-FORWARD-OUT", "ROMANA-FORWARD-IN", "ROMANA-OP", "ROMANA-OP-IN"];

function restore(chains: readonly Chain[], stale: readonly Chain[]): Operation {
  const jumps = chains
    .find(({ name }) => name === "ROMANA-FORWARD-IN")
    ?.rules.flatMap(({ target }) => (target?.kind === "jump" ? [target.chain] : []));
  const ladders = (jumps ?? [])
    .filter((name) => !OWN.includes(name))
    .flatMap((name) => [name, `${name}_X`, `${name}_R`]);
  const named = new Map(chains.map((chain) => [chain.name, chain]));
  const ordered = [...OWN, ...ladders].flatMap((name) => named.get(name) ?? []);
  const lines: RuleLine[] = [
    ...[...ordered, ...stale].map(
      ({ name }): RuleLine => ({ text: `:${name} - `, command: { verb: "declare", chain: name } }),
    ),
    ...ordered.flatMap(({ name, rules }) => rules.map((rule): RuleLine => appended(name, rule))),
    ...stale.map(({ name }): RuleLine => ({ text: `-X ${name}`, command: { verb: "remove", chain: name } })),
  ];
  return tableRestore({ family: 4, table: "filter", flush: false, args: ["--noflush"], lines, cause: TICK });
}

function appended(chain: string, rule: Rule): RuleLine {
  // The agent leaves the module of a port to -p, and a blank for the matches of a policy's jump, which has none.
  const text = ruleText(rule, 4).replace(/ -m (?:tcp|udp)(?= )/, "");
  const { target } = rule;
  const isLadder = target?.kind === "jump" && !OWN.includes(target.chain) && rule.matches.length === 0;
  return { text: `-A ${chain}${isLadder ? " " : ""}${text}`, command: { verb: "append", chain, rule } };
}
