/** Plans in the kernel: operation after operation, packets in between, connections kept open. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ClusterModel, isOnPodNetwork } from "../../compiler/model.ts";
import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { controllerOf, runOperation } from "../../compiler/update/controller.ts";
import { burstsBetween } from "../../compiler/update/events.ts";
import { NodeState } from "../../compiler/update/nodeState.ts";
import type { Operation } from "../../compiler/update/operation.ts";
import { formatAddress } from "../../dataplane/address.ts";
import type { ConntrackEntry } from "../../dataplane/conntrack/entry.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { makePacket, type Packet, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import type { TableProgram } from "../../dataplane/program.ts";
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

const PORTS = [
  [PROTOCOL.tcp, 80],
  [PROTOCOL.tcp, 81],
  [PROTOCOL.tcp, 8080],
  [PROTOCOL.udp, 80],
] as const;

/** Every pair of pods with an end on the node, on a port of each kind. */
function firstPackets(model: ClusterModel, round: number): readonly Packet[] {
  const pods = model.endpoints
    .filter(isOnPodNetwork)
    .flatMap((pod) => pod.addresses.slice(0, 1).map((address) => ({ pod, address })));
  return pods.flatMap(({ pod: from, address: source }) =>
    pods.flatMap(({ pod: to, address: destination }) => {
      if (from === to || (from.node !== "node-a" && to.node !== "node-a")) return [];
      return PORTS.map(([protocol, destinationPort]) =>
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

async function follow(strategy: Strategy, models: readonly ClusterModel[]): Promise<number> {
  const [first, ...later] = models;
  if (first === undefined) return 0;
  let cluster = resolvePolicies(first);
  const controller = controllerOf(strategy, cluster, { node: "node-a" });
  const program = programTables(controller.program);
  const state = new NodeState(program);
  const fabric = new Fabric([program], { only: "node-a" });
  const node = await KernelNode.start(program.attachment, { variant: "legacy", walks: false, timeouts: "endless" });
  let asked = 0;
  const both = async (packets: readonly Packet[], what: string) => {
    const ours = packets.map((packet) => fabric.push(packet).verdict);
    const kernel = (await node.push(packets)).map(({ verdict }) => verdict);
    asked += packets.length;
    const lines = (verdicts: readonly string[]) =>
      packets.map((packet, at) => `${formatPacket(packet, formatAddress)} ${verdicts[at]}`);
    expect([what, ...lines(ours)]).toEqual([what, ...lines(kernel)]);
    const tracked = [...(fabric.nodes[0]?.trackedConnections() ?? [])].map(entryText).toSorted();
    const wanted = readEntries(node.run(LIST_ENTRIES)).map(entryText).toSorted();
    expect([what, ...tracked]).toEqual([what, ...wanted]);
    return packets.filter((_, index) => ours[index] === "accept");
  };
  try {
    // The solution's own start, in one go; the states in between are those of any update.
    const start = controller.start();
    const before = programTables(start.before);
    await node.load(subjectOf(before).text, before);
    node.run(start.operations.map(shellOf).join("\n"));
    let round = 0;
    const opened = await both(firstPackets(first, round++), "at the start");
    await both(opened.map(answerTo), "answers");
    const open = opened.map(afterwards);
    await both(open, "open connections");
    for (const model of later) {
      for (const burst of burstsBetween(cluster, resolvePolicies(model))) {
        const operations = controller.react(burst);
        for (const [index, operation] of operations.entries()) {
          if (operation.tool !== "conntrack") node.run(shellOf(operation));
          runOperation(state, operation);
          fabric.load([state.program]);
          // weave-net runs a process for each element: every few of them are enough.
          if (index % 4 !== 3 && index < operations.length - 1 && operations.length > 8) continue;
          const what = `${operation.cause}: ${operation.tool} ${operation.args.join(" ")}`;
          await both(firstPackets(first, round++), what);
          await both(open, `${what}, open connections`);
        }
        cluster = burst.after;
      }
    }
    const ours = ourText(state.program);
    const kernel = node.save();
    const text = { ipv4: kernel.ipv4, ipv6: kernel.ipv6, sets: kernel.sets };
    expect(linesOf({ ...ours, ipv6: "" })).toEqual(linesOf({ ...text, ipv6: "" }));
  } finally {
    await node.close();
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

describe.runIf(hasKernel("bridge"))("plans of random histories", () => {
  it.each(CHAINED.map((strategy) => [strategy.name, strategy] as const))(
    "of %s, operation by operation, have the kernel's verdicts and its connections",
    { timeout: 240_000 },
    async (_, strategy) => {
      let asked = 0;
      for (const models of histories(HISTORIES)) asked += await follow(strategy, models);
      expect(asked).toBeGreaterThan(100);
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
