/** Random conversations, several at once and with time between their packets, for connection tracking and its plain model. */
import { compileNode, loadCluster, resolvePolicies } from "../../compiler/compile.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { formatAddress } from "../../dataplane/address.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import type { Random } from "../kernel/random.ts";
import { shrink, smallerLists } from "../kernel/shrink.ts";
import { type ConnectionCase, connectionText } from "./connectionFile.ts";
import { CONNTRACK_SETTINGS, holdNode, holdTable, type Notice, type Parting, segmentOf } from "./connections.ts";
import { CONVERSATION_KINDS, drawConversation, ENDS, inTime, mixed } from "./conversations.ts";
import type { Coverage } from "./coverage.ts";
import { contentName } from "./finding.ts";
import { mutateConnections } from "./mutateConnections.ts";
import type { FuzzEvent, FuzzTarget } from "./target.ts";

/** Conversations at once, at most. */
const MOST_CONVERSATIONS = 6;
/** Tuples to draw from: few, so that conversations meet the remains of others. */
const TUPLES = 40;
/** One in so many is held by a node. */
const NODE_STRIDE = 4;

/** One in so many is drawn anew, the others are changed from kept ones: every other time from one of late. */
const DRAWN_STRIDE = 2;
/** Each is some kilobytes. */
const MOST_KEPT = 4_096;
const LATE = 64;

const SHRINK_BUDGET = 2_000;

/** The name of the target, and of its folder in a corpus. */
export const CONNECTIONS = "connections";

export class ConnectionTarget implements FuzzTarget {
  readonly name = CONNECTIONS;
  readonly #random: Random;
  readonly #notice: Notice;
  readonly #coverage: Coverage;
  readonly #known = new Set<string>();
  readonly #kept: ConnectionCase[] = [];

  constructor(options: { readonly random: Random; readonly coverage: Coverage }) {
    this.#random = options.random;
    this.#coverage = options.coverage;
    this.#notice = (feature) => options.coverage.text(`connections ${feature}`);
  }

  /** Kept by another job, or before. */
  learn(subject: ConnectionCase): void {
    if (subject.steps.length === 0) return;
    if (this.#kept.length >= MOST_KEPT) this.#kept.splice(0, MOST_KEPT / 4);
    this.#kept.push(subject);
  }

  async step(): Promise<readonly FuzzEvent[]> {
    const subject = this.#draw();
    const parting = holdConnections(subject, this.#notice);
    const events: FuzzEvent[] = [{ kind: "ran", runs: 1 }];
    if (parting !== undefined) {
      const least = await leastConnection(subject, parting);
      if (!this.#known.has(least.cause)) events.push({ kind: "connection", ...least });
      this.#known.add(least.cause);
    } else if (this.#coverage.take() > 0) {
      this.learn(subject);
      const content = connectionText(subject);
      events.push({ kind: "kept", files: [{ path: `${CONNECTIONS}/${contentName(content)}.jsonl`, content }] });
    }
    return events;
  }

  #draw(): ConnectionCase {
    const random = this.#random;
    if (this.#kept.length === 0 || random.oneIn(DRAWN_STRIDE)) return drawConnections(random);
    const late = this.#kept.slice(-LATE);
    return mutateConnections(random.pick(random.oneIn(2) ? late : this.#kept), random.pick(this.#kept), random);
  }
}

export function drawConnections(random: Random): ConnectionCase {
  const held = random.oneIn(NODE_STRIDE) ? "node" : "table";
  const kind = random.pick(CONVERSATION_KINDS);
  const conversations = Array.from({ length: 1 + random.below(MOST_CONVERSATIONS) }, () =>
    drawConversation(random, random.oneIn(4) ? random.pick(CONVERSATION_KINDS) : kind, random.below(TUPLES)),
  );
  const steps = mixed(random, conversations).map(({ step }) => step);
  const setting = held === "table" && random.oneIn(3) ? random.pick(CONNTRACK_SETTINGS) : CONNTRACK_SETTINGS[0];
  if (setting === undefined) throw new Error("no settings");
  return { held, setting, steps: inTime(random, steps) };
}

export function holdConnections({ held, setting, steps }: ConnectionCase, notice?: Notice): Parting | undefined {
  return held === "table" ? holdTable(steps, setting, notice) : holdNode(steps, nodeProgram(), notice);
}

export interface LeastConnection {
  readonly case: ConnectionCase;
  readonly parting: Parting;
  /** In words without numbers: equal for findings with one cause. */
  readonly cause: string;
}

/** The conversation without whatever is not needed to show that something parts. */
export async function leastConnection(subject: ConnectionCase, parting: Parting): Promise<LeastConnection> {
  const shown = { ...subject, steps: subject.steps.slice(0, parting.step + 1) };
  const steps = await shrink<ConnectionCase["steps"]>(shown.steps, smallerLists, {
    stillFails: async (candidate) =>
      candidate.length > 0 && holdConnections({ ...shown, steps: candidate }) !== undefined,
    budget: SHRINK_BUDGET,
  });
  const least = { ...shown, steps };
  const found = holdConnections(least) ?? parting;
  const packets = steps.map(({ packet }) => segmentOf(packet)).join(", ");
  return { case: least, parting: found, cause: `connections: ${found.what.replace(/[\d.]+/g, "N")}: ${packets}` };
}

/** A node with a pod at the server's addresses that is isolated but for one port: some conversations begin, others do not. */
function nodeProgram(): TableProgram {
  known ??= compiled();
  return known;
}

let known: TableProgram | undefined;

function compiled(): TableProgram {
  const addresses = [ENDS[4].server, ENDS[6].server].map(formatAddress);
  const objects = [
    {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: "node" },
      spec: { podCIDRs: ["10.1.0.0/16", "fd00:1::/32"] },
      status: { addresses: [{ type: "InternalIP", address: "192.168.0.1" }] },
    },
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } },
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "server", namespace: "default" },
      spec: { nodeName: "node", containers: [{ name: "one", image: "none" }] },
      status: { phase: "Running", podIP: addresses[0], podIPs: addresses.map((ip) => ({ ip })) },
    },
    {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "some", namespace: "default" },
      spec: {
        podSelector: {},
        policyTypes: ["Ingress", "Egress"],
        ingress: [{ ports: ["TCP", "UDP", "SCTP"].map((protocol) => ({ protocol, port: 80 })) }],
        egress: [{ ports: [{ protocol: "UDP" }] }],
      },
    },
  ];
  const text = objects.map((one) => JSON.stringify(one)).join("\n---\n");
  const { model } = loadCluster([{ name: "connections.yaml", text }]);
  if (model === undefined) throw new Error("the cluster of connections does not load");
  const program = compileNode(resolvePolicies(model), kubeRouter, { node: "node" });
  if (program.kind !== "tables") throw new Error("no tables");
  return program;
}
