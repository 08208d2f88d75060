/** Plans in the kernel: operation after operation, packets in between, connections kept open. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ClusterModel, type Endpoint, isOnPodNetwork } from "../../compiler/model.ts";
import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { controllerOf, runOperation, type Start } from "../../compiler/update/controller.ts";
import { burstsBetween } from "../../compiler/update/events.ts";
import { NodeState } from "../../compiler/update/nodeState.ts";
import type { Operation } from "../../compiler/update/operation.ts";
import { formatAddress } from "../../dataplane/address.ts";
import type { ConntrackEntry } from "../../dataplane/conntrack/entry.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { makePacket, type Packet, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import type { Attachment, Program, TableProgram } from "../../dataplane/program.ts";
import { formatPacket } from "../../traffic/transcript.ts";
import { answerTo } from "../../verify/answer.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { subjectOf } from "../../verify/kernel/judge.ts";
import { KernelNode } from "../../verify/kernel/node.ts";
import { isWhole } from "../extent.ts";
import { ourText } from "../realDumps/nodeText.ts";
import { chainLines, type NodeText, parseChains, parseSets, setLines } from "../realDumps/normalise.ts";
import { normaliseKubeRouter, ordersOf } from "../realDumps/normaliseKubeRouter.ts";
import { hasShared } from "../shared.ts";
import { changedHandsStory } from "../update/changedHandsStory.ts";
import { crowdedStory } from "../update/crowdedStory.ts";
import { NODES, STORIES, stateOf, storyClusters, strategyCalled } from "../update/recordings.ts";
import { SEED } from "./budget.ts";
import { entryKey, LIST_ENTRIES, readEntries } from "./connectionKernel.ts";
import { hasKernel } from "./kernel.ts";

/** No rule uses a set any more. To name a table is to create it, so only those that are there. */
const EMPTY_TABLES = [
  ["ip_tables_names", "iptables-legacy"],
  ["ip6_tables_names", "ip6tables-legacy"],
]
  .map(([names, tool]) => `for t in $(cat /proc/net/${names}); do ${tool} -t $t -F; ${tool} -t $t -X; done`)
  .join("\n");

/** The command of an operation for a shell; the legacy tools, whatever `iptables` is on this machine. */
function shellOf({ tool, args, stdin, mayFail }: Operation): string {
  const word = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const name = tool.replace(/^(ip6?tables)/, "$1-legacy");
  const words = [name, ...args.map(word)].join(" ");
  const command = stdin === undefined ? words : `${words} <<'CHAINWALK_END'\n${stdin}CHAINWALK_END`;
  return mayFail === true ? `set +e\n${command}\nset -e` : command;
}

function programTables(program: { readonly kind: string }): TableProgram {
  if (program.kind !== "tables") throw new Error("tables");
  return program as TableProgram;
}

/** Policies come and go, pods and their addresses stay: a kernel node's devices are made once. */
function histories(count: number): readonly (readonly ClusterModel[])[] {
  const models = fc.sample(
    clusterArbitrary({ stack: "ipv4" }).filter(
      ({ policies, endpoints }) => policies.length > 0 && endpoints.filter((pod) => pod.node === "node-a").length > 1,
    ),
    { numRuns: count * 3, seed: SEED },
  );
  return Array.from({ length: count }, (_, index) => {
    const [first, ...others] = models.slice(index * 3, index * 3 + 3);
    if (first === undefined) throw new Error("no model");
    const known = new Set(first.namespaces.map(({ name }) => name));
    const later = others.map(({ policies }) => ({
      ...first,
      policies: policies.filter(({ namespace }) => known.has(namespace)),
    }));
    return [first, ...later];
  });
}

type Port = readonly [protocol: number, port: number];
const PORTS = [
  [PROTOCOL.tcp, 80],
  [PROTOCOL.tcp, 81],
  [PROTOCOL.tcp, 8080],
  [PROTOCOL.udp, 80],
] as const satisfies readonly Port[];
/** Of the story: numbers that its names have, of its range, and others; turn by turn. */
const CROWDED_PORTS = [
  [
    [PROTOCOL.tcp, 80],
    [PROTOCOL.sctp, 81],
  ],
  [
    [PROTOCOL.tcp, 8080],
    [PROTOCOL.udp, 53],
  ],
] as const satisfies readonly (readonly Port[])[];

/** Every pair of pods with an end on the node, on a port of each kind. */
function firstPackets(pods: readonly Endpoint[], round: number, ports: readonly Port[] = PORTS): readonly Packet[] {
  const ends = pods.filter(isOnPodNetwork).flatMap((pod) => pod.addresses.map((address) => ({ pod, address })));
  return ends.flatMap(({ pod: from, address: source }) =>
    ends.flatMap(({ pod: to, address: destination }) => {
      if (from === to || source.family !== destination.family) return [];
      if (from.node !== "node-a" && to.node !== "node-a") return [];
      return ports.map(([protocol, destinationPort]) =>
        makePacket({ protocol, source, destination, sourcePort: 20_000 + round, destinationPort }),
      );
    }),
  );
}

function afterwards(packet: Packet): Packet {
  if (packet.protocol !== PROTOCOL.tcp) return packet;
  return { ...packet, tcpFlags: TCP_FLAG.A, sequence: packet.sequence + 1, acknowledgment: 1 };
}

/** What a connection has become, but for what hangs on seconds, which pass in the kernel alone: its end, UDP's assurance. */
function entryText(entry: ConntrackEntry): string {
  const { protocol, state = "", seenReply } = entry;
  const assured = entry.assured && protocol !== PROTOCOL.udp;
  return `${entryKey(entry)} ${state}${seenReply ? "" : " [UNREPLIED]"}${assured ? " [ASSURED]" : ""}`;
}

/** A kernel node and one of ours that hold the same, and are asked the same. */
class Twins {
  readonly state: NodeState;
  asked = 0;
  readonly #node: KernelNode;
  readonly #fabric: Fabric;

  private constructor(node: KernelNode, state: NodeState) {
    this.#node = node;
    this.state = state;
    this.#fabric = new Fabric([state.program], { only: "node-a" });
  }

  /** `start`: how the kernel comes to what `state` holds; absent: at once. */
  static async start(state: NodeState, start?: Start): Promise<Twins> {
    const program = programTables(state.program);
    const node = await KernelNode.start(program.attachment, { variant: "legacy", walks: false, timeouts: "endless" });
    try {
      const before = start === undefined ? program : programTables(start.before);
      await node.load(subjectOf(before).text, before);
      if (start !== undefined) node.run(start.operations.map(shellOf).join("\n"));
      return new Twins(node, state);
    } catch (error) {
      await node.close();
      throw error;
    }
  }

  run(operation: Operation): void {
    if (operation.tool !== "conntrack") this.#node.run(shellOf(operation));
    runOperation(this.state, operation);
    this.#fabric.load([this.state.program]);
  }

  /** Verdicts and connections are the same; answers the packets that are let through. */
  async ask(packets: readonly Packet[], what: string): Promise<readonly Packet[]> {
    const ours = packets.map((packet) => this.#fabric.push(packet).verdict);
    const kernel = (await this.#node.push(packets)).map(({ verdict }) => verdict);
    this.asked += packets.length;
    const differing = packets.flatMap((packet, at) =>
      ours[at] === kernel[at]
        ? []
        : [`${formatPacket(packet, formatAddress)}: ${ours[at]}, in the kernel ${kernel[at]}`],
    );
    expect([what, ...differing]).toEqual([what]);
    const tracked = [...(this.#fabric.nodes[0]?.trackedConnections() ?? [])].map(entryText).toSorted();
    const wanted = readEntries(this.#node.run(LIST_ENTRIES)).map(entryText).toSorted();
    expect([what, ...tracked]).toEqual([what, ...wanted]);
    return packets.filter((_, index) => ours[index] === "accept");
  }

  expectSameRules(): void {
    const { ipv4, sets } = this.#node.save();
    expect(linesOf({ ...ourText(this.state.program), ipv6: "" })).toEqual(linesOf({ ipv4, ipv6: "", sets }));
  }

  close(): Promise<void> {
    return this.#node.close();
  }
}

async function follow(strategy: Strategy, models: readonly ClusterModel[]): Promise<number> {
  const [first, ...later] = models;
  if (first === undefined) return 0;
  let cluster = resolvePolicies(first);
  const controller = controllerOf(strategy, cluster, { node: "node-a" });
  // The solution's own start, in one go; the states in between are those of any update.
  const twins = await Twins.start(new NodeState(controller.program), controller.start());
  try {
    let round = 0;
    const opened = await twins.ask(firstPackets(first.endpoints, round++), "at the start");
    await twins.ask(opened.map(answerTo), "answers");
    const open = opened.map(afterwards);
    await twins.ask(open, "open connections");
    for (const model of later) {
      for (const burst of burstsBetween(cluster, resolvePolicies(model))) {
        const operations = controller.react(burst);
        for (const [index, operation] of operations.entries()) {
          twins.run(operation);
          // weave-net runs a process for each element: every few of them are enough.
          if (index % 4 !== 3 && index < operations.length - 1 && operations.length > 8) continue;
          const what = `${operation.cause}: ${operation.tool} ${operation.args.join(" ")}`;
          await twins.ask(firstPackets(first.endpoints, round++), what);
          await twins.ask(open, `${what}, open connections`);
        }
        cluster = burst.after;
      }
    }
    twins.expectSameRules();
  } finally {
    await twins.close();
  }
  return twins.asked;
}

/** The pods of both states at once: a kernel node's devices are made once. Where two would have one device, the later. */
function bothAttached(before: Program, after: Program): Attachment {
  const pods = new Map([...before.attachment.pods, ...after.attachment.pods].map((pod) => [pod.interface, pod]));
  const owners = new Map([...pods.values()].flatMap((pod) => pod.addresses.map((each) => [formatAddress(each), pod])));
  const alone = [...pods.values()].map((pod) => ({
    ...pod,
    addresses: pod.addresses.filter((each) => owners.get(formatAddress(each)) === pod),
  }));
  return { ...after.attachment, pods: alone.filter(({ addresses }) => addresses.length > 0) };
}

/** One pod an address, the last. */
function byAddress(pods: readonly Endpoint[]): readonly Endpoint[] {
  return [...new Map(pods.map((pod) => [pod.addresses.map(formatAddress).join(), pod])).values()];
}

/** At most so many states of a step are asked. */
const ASKED_STATES = 2;

/** Lives a story; what is done in a step that `isAsked`, a kernel node does as well, with packets in between. */
async function live(
  strategy: Strategy,
  story: readonly ClusterModel[],
  isAsked: (step: number) => boolean,
): Promise<number> {
  const [first, ...later] = story;
  if (first === undefined) return 0;
  let cluster = resolvePolicies(first);
  const controller = controllerOf(strategy, cluster, { node: "node-a" });
  let asked = 0;
  for (const [step, model] of later.entries()) {
    const before = controller.program;
    const next = resolvePolicies(model);
    const operations = burstsBetween(cluster, next).flatMap((burst) => controller.react(burst));
    const pods = byAddress([...cluster.model.endpoints, ...model.endpoints]);
    cluster = next;
    if (!isAsked(step)) continue;
    const state = new NodeState(before);
    state.attach(bothAttached(before, controller.program));
    const twins = await Twins.start(state);
    try {
      let round = 0;
      const packets = () => firstPackets(pods, round++, CROWDED_PORTS[round % 2]);
      await twins.ask(packets(), `step ${step} before`);
      const stride = Math.ceil(operations.length / ASKED_STATES);
      for (const [index, operation] of operations.entries()) {
        twins.run(operation);
        if (index % stride !== stride - 1 && index < operations.length - 1) continue;
        const what = `step ${step}, ${operation.cause}: ${operation.tool} ${operation.args.join(" ")}`;
        await twins.ask(packets(), what);
      }
      twins.expectSameRules();
      asked += twins.asked;
    } finally {
      await twins.close();
    }
  }
  return asked;
}

function linesOf({ ipv4, sets }: NodeText): readonly string[] {
  const none = new Map<string, string>();
  const filter = new Map([...parseChains(ipv4)].filter(([key]) => key.startsWith("filter ")));
  return [...chainLines(filter, none), ...setLines(parseSets(sets), none)];
}

const CHAINED = STRATEGIES.filter(({ name }) => name !== "cilium-ebpf" && name !== "bpf-hash");
const HISTORIES = isWhole ? 2 : 1;

/** A sample asks each strategy one of the two kinds of histories: every second one, from the first or from the second on. */
const askedFrom = (from: number) =>
  CHAINED.map((strategy, index) => [strategy.name, strategy, index] as const).filter(
    ([, , index]) => isWhole || index % 2 === from,
  );

describe.runIf(hasKernel("bridge"))("plans of random histories", () => {
  it.each(askedFrom(0))(
    "of %s, operation by operation, have the kernel's verdicts and its connections",
    { timeout: 240_000 },
    async (_, strategy) => {
      let packets = 0;
      for (const models of histories(HISTORIES)) packets += await follow(strategy, models);
      expect(packets).toBeGreaterThan(100);
    },
  );
});

describe.runIf(hasKernel("bridge"))("plans of stories of what random histories draw seldom", () => {
  // Each step by one of them, each of them in two steps at least: all by all is a minute.
  it.each(askedFrom(1))(
    "of %s, operation by operation, have the kernel's verdicts and leave its rules",
    { timeout: 240_000 },
    async (_, strategy, index) => {
      const isAsked = (step: number) => step % CHAINED.length === index;
      const packets = await live(strategy, crowdedStory(), isAsked);
      expect(packets + (await live(strategy, changedHandsStory(), isAsked))).toBeGreaterThan(100);
    },
  );
});

describe.runIf(hasShared && process.env.CI !== undefined && hasKernel("bridge"))(
  "plans of the recorded stories",
  () => {
    const solutions = [
      ["kube-router", "kube-router"],
      ["calico", "calico-iptables"],
    ] as const;
    it.each(solutions)(
      "of %s take a kernel from the recorded state before to the recorded state after",
      { timeout: 240_000 },
      async (solution, name) => {
        const strategy = strategyCalled(name);
        for (const story of STORIES) {
          const clusters = storyClusters(story);
          for (const each of NODES) {
            const [first] = clusters;
            if (first === undefined) throw new Error("no clusters");
            const node = await KernelNode.start(strategy.attach(first, { node: each }), {
              variant: "legacy",
              walks: false,
            });
            try {
              const following = controllerOf(strategy, first, { node: each });
              for (const [step, cluster] of clusters.entries()) {
                const before = clusters[step - 1];
                if (before === undefined) continue;
                const folder = [solution, story, each] as const;
                const wanted = stateOf(strategy, cluster, each, ...folder, `step-${step}`);
                // kube-router visits pods in another order in each sync.
                const settings = solution === "kube-router" ? ordersOf(ourText(wanted)) : undefined;
                const controller =
                  settings === undefined ? following : controllerOf(strategy, before, { node: each, settings });
                const held = stateOf(strategy, cluster, each, ...folder, `step-${step - 1}`);
                // The loader knows of the sets that it has loaded, not of those that operations made.
                node.run(`${EMPTY_TABLES}\nipset flush\nipset destroy`);
                await node.load(
                  { sets: renderIpsetSave(held), ipv4: renderIptablesSave(held, 4), ipv6: renderIptablesSave(held, 6) },
                  held,
                );
                const operations = burstsBetween(before, cluster).flatMap((burst) => controller.react(burst));
                for (const operation of operations) if (operation.tool !== "conntrack") node.run(shellOf(operation));
                const { ipv4, sets } = node.save();
                const now = { ipv4, ipv6: "", sets };
                const then = { ...ourText(wanted), ipv6: "" };
                if (solution === "kube-router") {
                  const [ours, theirs] = [normaliseKubeRouter(now), normaliseKubeRouter(then)];
                  expect([step, ours.chains, ours.sets]).toEqual([step, theirs.chains, theirs.sets]);
                } else expect([step, ...linesOf(now)]).toEqual([step, ...linesOf(then)]);
              }
            } finally {
              await node.close();
            }
          }
        }
      },
    );
  },
);
