/**
 * How weave-npc takes a node along with a cluster: event by event, one process for each element and rule, nothing
 * unchanged written again. Isolation comes before permission and goes after it: a new policy first takes its pods out of
 * the default-allow sets, its rules are last; of a deleted one the rules go first.
 *
 * An event that fails is logged and forgotten, and leaves what it had done. A panic ends the process; it is started again
 * (kubelet), flushes every chain, empties and destroys every set, and reads the lists anew. Until then and until the
 * lists are in, everything is refused, then nothing is restricted that goes out.
 *
 * Left to chance: the order of rules and selectors of one event (Go maps). What a recorded node has beyond a fresh one
 * is history: the DROP at the end of the egress chain, addresses in combined sets after a namespace was relabelled.
 * Source: weave 8c847638 npc/controller.go, npc/namespace.go, prog/weave-npc/main.go; dumps/updates/weave-net/NOTES.md.
 */
import type { Chain, Rule, TableProgram } from "../../../dataplane/program.ts";
import { isOnPodNetwork } from "../../model.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { ipsetCall, tableCall } from "../../update/commands.ts";
import type { Controller } from "../../update/controller.ts";
import { type ClusterEvent, eventText } from "../../update/events.ts";
import type { Operation, RuleCommand } from "../../update/operation.ts";
import type { Lapse } from "../strategy.ts";
import { WeaveController, WeavePanic } from "./controller.ts";
import { IpsetError, ruleCall } from "./kernel.ts";
import { runController } from "./run.ts";

export interface LiveOptions {
  readonly policyOrder: string;
  /** Which mistakes it makes. */
  made(lapse: Lapse): boolean;
  programOf(controller: WeaveController, cluster: ResolvedCluster): TableProgram;
  /** The chains of a controller that knows nothing yet. */
  baseRules(): readonly Chain[];
}

export function liveController(start: ResolvedCluster, options: LiveOptions): Controller {
  let operations: Operation[] = [];
  const sink = (operation: Operation) => operations.push(operation);
  let controller = runController(start, options.policyOrder, sink, options.made);
  let cluster = start;
  const listed = operations;
  return {
    remembers: true,
    get program() {
      return options.programOf(controller, cluster);
    },
    start() {
      const before = besideWeaver(options.programOf(new WeaveController(), start));
      const found = { sets: [], chains: (name: string) => OF_ROUTER.has(name), cause: "start of weave-npc" };
      return { before, operations: [...startOperations(options.baseRules(), found), ...listed] };
    },
    react({ events, after }) {
      operations = [];
      for (const event of events) {
        controller.kernel.cause = eventText(event);
        try {
          handle(controller, event);
        } catch (error) {
          if (error instanceof WeavePanic) {
            const sets = controller.sets.map(({ name }) => name);
            const found = { sets, chains: () => true, cause: "restart of weave-npc" };
            operations.push(...startOperations(options.baseRules(), found));
            controller = runController(event.cluster(), "name", sink, options.made);
          } else if (!(error instanceof IpsetError)) throw error;
        }
      }
      cluster = after;
      return operations;
    },
  };
}

function handle(controller: WeaveController, event: ClusterEvent): void {
  switch (event.kind) {
    case "Node":
      return;
    case "Namespace": {
      const { before, after } = event;
      if (before === undefined) after && controller.addNamespace(after);
      else if (after === undefined) controller.deleteNamespace(before);
      else controller.updateNamespace(before, after);
      return;
    }
    case "Pod": {
      const { before, after } = event;
      if (before !== undefined && after !== undefined) controller.updatePod(before, after);
      else if (before !== undefined) controller.deletePod(before);
      else if (after !== undefined && isOnPodNetwork(after)) controller.addPod(after);
      return;
    }
    case "NetworkPolicy": {
      const { before, after } = event;
      if (before === undefined) after && controller.addPolicy(after);
      else if (after === undefined) controller.deletePolicy(before);
      else controller.updatePolicy(before, after);
      return;
    }
  }
}

/** The set by which weave-npc finds out whether ipset knows comments; the real name ends in random digits. */
const TEST_SET = "weave-test-comment00000000";

/** Chains in the order in which they are emptied at the start; the last one when the others have their rules again. */
const EMPTIED = [
  "WEAVE-NPC-INGRESS",
  "WEAVE-NPC-DEFAULT",
  "WEAVE-NPC",
  "WEAVE-NPC-EGRESS-ACCEPT",
  "WEAVE-NPC-EGRESS-CUSTOM",
  "WEAVE-NPC-EGRESS-DEFAULT",
];
const EGRESS = "WEAVE-NPC-EGRESS";
/** The router has made these two, empty, and the rules that lead to them, before weave-npc first starts. */
const OF_ROUTER: ReadonlySet<string> = new Set(["WEAVE-NPC", EGRESS]);

/** The node as the router leaves it to a weave-npc that has never run. */
function besideWeaver(program: TableProgram): TableProgram {
  return {
    ...program,
    families: program.families.map(({ family, tables }) => ({
      family,
      tables: tables.map((table) => ({
        ...table,
        chains: table.chains.flatMap((chain) => {
          if (chain.policy !== undefined) return [chain];
          return OF_ROUTER.has(chain.name) ? [{ ...chain, rules: [] }] : [];
        }),
      })),
    })),
  };
}

interface Found {
  readonly sets: readonly string[];
  readonly chains: (name: string) => boolean;
  readonly cause: string;
}

/** What the start does, up to the first list; sets and chains of an earlier run are emptied. */
function startOperations(base: readonly Chain[], { sets, chains, cause }: Found): readonly Operation[] {
  const rulesOf = (name: string) => base.find((chain) => chain.name === name)?.rules ?? [];
  const append = (chain: string) => (rule: Rule) => ruleCall("-A", { verb: "append", chain, rule }, cause);
  const destroyTest = ipsetCall(["destroy", TEST_SET], { verb: "destroy", set: TEST_SET }, cause);
  const test = { name: TEST_SET, type: "hash:ip", family: 4, options: { comment: true } } as const;
  /** `-N`, and where that fails because the chain is there, `-F`. */
  const emptied = (chain: string): readonly Operation[] => {
    const call = (flag: string, command: RuleCommand) =>
      tableCall({ family: 4, table: "filter", args: ["-t", "filter", flag, chain, "--wait"], command, cause });
    const create = call("-N", { verb: "create", chain });
    if (!chains(chain)) return [create];
    return [{ ...create, mayFail: true }, call("-F", { verb: "flush", chain })];
  };
  return [
    { ...destroyTest, mayFail: true },
    { ...destroyTest, mayFail: true },
    ipsetCall(["create", TEST_SET, "hash:ip", "comment"], { verb: "create", set: test }, cause),
    destroyTest,
    ...EMPTIED.flatMap(emptied),
    ...sets.map((set) => ipsetCall(["flush", set], { verb: "flush", set }, cause)),
    ...sets.map((set) => ipsetCall(["destroy", set], { verb: "destroy", set }, cause)),
    ...rulesOf("WEAVE-NPC").map(append("WEAVE-NPC")),
    ...rulesOf("WEAVE-NPC-EGRESS-ACCEPT").map(append("WEAVE-NPC-EGRESS-ACCEPT")),
    ...emptied(EGRESS),
    ...rulesOf(EGRESS).map(append(EGRESS)),
  ];
}
