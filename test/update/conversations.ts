/**
 * Conversations over a changing cluster as commands for fast-check: the model is the plain one of connection tracking with
 * the API text for what is new, the real thing a node with a strategy's program, and a kernel's node where there is one.
 */
import fc from "fast-check";
import { expect } from "vitest";
import { rememberedBy } from "../../compiler/again.ts";
import { compileNode } from "../../compiler/compile.ts";
import { type ClusterModel, type Direction, type Endpoint, isOnPodNetwork } from "../../compiler/model.ts";
import { type ResolvedCluster, resolvePolicies } from "../../compiler/resolve.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { formatAddress, type IpAddress } from "../../dataplane/address.ts";
import type { ConntrackEntry } from "../../dataplane/conntrack/entry.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { makePacket, type Packet, PROTOCOL, SCTP_CHUNK, TCP_FLAG } from "../../dataplane/packet.ts";
import type { Program } from "../../dataplane/program.ts";
import type { Verdict } from "../../dataplane/verdict.ts";
import { PlainConntrack, type PlainEntry } from "../../reference/conntrack/conntrack.ts";
import { PlainFlows } from "../../reference/conntrack/flows.ts";
import { evaluate } from "../../reference/evaluate.ts";
import { formatPacket } from "../../traffic/transcript.ts";
import { answerTo, errorAbout } from "../../verify/answer.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { meantVerdict } from "../../verify/meant.ts";
import { SEED } from "../seed.ts";

const NODE = "node-a";
const { A, P, R, F } = TCP_FLAG;

/** What must become of a packet. */
interface Expectation {
  readonly state: string;
  /** Undefined: that is the solution's own affair. */
  readonly verdict: Verdict | undefined;
}

/** The plain model of the connections that a strategy's programs keep. */
interface Connections {
  meet(cluster: ResolvedCluster, strategy: Strategy, packet: Packet): Expectation;
  /** What became of the packet met last. */
  settle(passes: boolean): void;
  /** Undefined: they are looked at through packets alone. */
  entries(): readonly PlainEntry[] | undefined;
}

/** What the model knows. */
export interface Witness {
  readonly connections: Connections;
  cluster: ResolvedCluster;
  /** First packets of conversations, and how far each end has got. */
  readonly opened: { readonly first: Packet; sent: number; received: number }[];
  seconds: number;
  /** Packets by what became of them. */
  readonly tally: Map<string, number>;
}

/** What is held against it. */
export interface Subject {
  readonly strategy: Strategy;
  readonly fabric: Fabric;
  program: Program;
  /** Absent: there is no kernel to ask. */
  readonly kernel?: {
    push(packet: Packet): Promise<Verdict>;
    load(program: Program): Promise<void>;
    entries(): readonly ConntrackEntry[];
  };
}

export function witnessOf(model: ClusterModel, tally: Witness["tally"], connections: Connections): Witness {
  return { connections, cluster: resolvePolicies(model), opened: [], seconds: 0, tally };
}

/** nf_conntrack's, in front of the policies of one node. */
export class TrackedConnections implements Connections {
  readonly #model = new PlainConntrack();

  meet(cluster: ResolvedCluster, strategy: Strategy, packet: Packet): Expectation {
    const { state } = this.#model.see(packet);
    if (state === "established" || state === "related") return { state, verdict: "accept" };
    return { state, verdict: state === "new" ? policyVerdict(cluster, strategy, packet) : undefined };
  }

  settle(passes: boolean): void {
    if (passes) this.#model.pass();
    else this.#model.drop();
  }

  entries(): readonly PlainEntry[] {
    return this.#model.entries();
  }
}

/** Cilium's flows, asked at each end's pod: what it sends, then what it gets. */
export class Flows implements Connections {
  readonly #model = new PlainFlows();

  meet(cluster: ResolvedCluster, strategy: Strategy, packet: Packet): Expectation {
    let state = "untracked";
    for (const direction of ["egress", "ingress"] as const) {
      const end = formatAddress(direction === "egress" ? packet.source : packet.destination);
      if (!cluster.pods.some(({ addresses }) => addresses.some((one) => formatAddress(one) === end))) continue;
      const sighting = this.#model.see(packet, direction);
      state = sighting === "reply" ? "established" : sighting;
      if (sighting === "reply" || sighting === "related") continue;
      const verdict = policyVerdict(inDirection(cluster, direction), strategy, packet);
      if (verdict !== "accept") return { state, verdict };
      if (sighting === "new") this.#model.begin(packet, direction);
    }
    return { state, verdict: "accept" };
  }

  settle(): void {}

  entries(): undefined {
    return undefined;
  }
}

const IN_DIRECTION = {
  egress: new WeakMap<ResolvedCluster, ResolvedCluster>(),
  ingress: new WeakMap<ResolvedCluster, ResolvedCluster>(),
};

/** The cluster with what its policies say about one direction, rules that their types leave out included: some read those. */
function inDirection(cluster: ResolvedCluster, direction: Direction): ResolvedCluster {
  const other = direction === "egress" ? "ingress" : "egress";
  return rememberedBy(IN_DIRECTION[direction], cluster, ({ model }) =>
    resolvePolicies({
      ...model,
      policies: model.policies.map((policy) => ({
        ...policy,
        types: policy.types.filter((type) => type === direction),
        [other]: [],
      })),
    }),
  );
}

function policyVerdict(cluster: ResolvedCluster, strategy: Strategy, packet: Packet): Verdict {
  return meantVerdict(strategy, { cluster, packet, said: evaluate(cluster.model, packet).verdict }).verdict;
}

export function subjectOn(strategy: Strategy, model: ClusterModel): Subject {
  const program = compileNode(resolvePolicies(model), strategy, { node: NODE });
  return { strategy, program, fabric: new Fabric([program], { only: NODE }) };
}

type Step = fc.AsyncCommand<Witness, Subject>;

/** One packet: the verdict and the state are those of the model, on both sides. */
async function send(witness: Witness, subject: Subject, bare: Packet): Promise<void> {
  const packet = { ...bare, time: witness.seconds };
  const { strategy, fabric, kernel } = subject;
  const { state, verdict: meant } = witness.connections.meet(witness.cluster, strategy, packet);
  const { verdict, ctState } = fabric.push(packet);
  witness.connections.settle(verdict === "accept");
  const what = formatPacket(packet, formatAddress);
  const outcome = `${state} ${verdict === "accept" ? "passes" : "does not"}`;
  witness.tally.set(outcome, (witness.tally.get(outcome) ?? 0) + 1);
  expect([what, ctState, verdict]).toEqual([what, state, meant ?? verdict]);
  if (kernel !== undefined) expect([what, await kernel.push(packet)]).toEqual([what, verdict]);
}

function entryText({ protocol, source, destination, ...entry }: ConntrackEntry | PlainEntry): string {
  const { sourcePort, destinationPort, icmp, state = "", seenReply, assured } = entry;
  const ends = `${formatAddress(source)}:${sourcePort} > ${formatAddress(destination)}:${destinationPort}`;
  const flags = `${seenReply ? "" : " unreplied"}${assured && protocol !== PROTOCOL.udp ? " assured" : ""}`;
  return `${protocol} ${ends} ${icmp === undefined ? "" : `${icmp.id}/${icmp.type}`} ${state}${flags}`;
}

/** Whether all have the same connections. */
export function compareTables({ connections }: Witness, { fabric, kernel }: Subject): void {
  const model = connections.entries()?.map(entryText).toSorted();
  if (model === undefined) return;
  const ours = [...(fabric.nodes[0]?.trackedConnections() ?? [])].map(entryText).toSorted();
  expect(ours).toEqual(model);
  if (kernel !== undefined) expect(kernel.entries().map(entryText).toSorted()).toEqual(model);
}

/* ------------------------------------------------ Packets -------------------------------------------------------- */

const FIRST_CLIENT = 20_000;
const START = 1_000;

interface OpenChoice {
  readonly from: number;
  readonly to: number;
  readonly family: 4 | 6;
  readonly protocol: number;
  readonly port: number;
}

/** A pair of pods; of few pods the numbers are taken modulo. */
function pairOf({ cluster }: Witness, { from, to, family }: OpenChoice): readonly [IpAddress, IpAddress] | undefined {
  const own = cluster.model.endpoints
    .filter(isOnPodNetwork)
    .flatMap((pod) => pod.addresses.filter((one) => one.family === family));
  const source = own[from % own.length];
  const rest = own.filter((one) => one !== source);
  const destination = rest[to % rest.length];
  return source === undefined || destination === undefined ? undefined : [source, destination];
}

class Open implements Step {
  readonly #choice: OpenChoice;

  constructor(choice: OpenChoice) {
    this.#choice = choice;
  }

  check(witness: Readonly<Witness>): boolean {
    return pairOf(witness, this.#choice) !== undefined;
  }

  async run(witness: Witness, subject: Subject): Promise<void> {
    const { protocol, port } = this.#choice;
    const [source, destination] = pairOf(witness, this.#choice) ?? [];
    if (source === undefined || destination === undefined) return;
    const number = witness.opened.length;
    const isPing = protocol === PROTOCOL.icmp;
    const first = makePacket({
      source,
      destination,
      ...(isPing
        ? {
            protocol: source.family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6,
            icmpType: source.family === 4 ? 8 : 128,
            icmpId: number + 1,
          }
        : { protocol, sourcePort: FIRST_CLIENT + number, destinationPort: port }),
      ...(protocol === PROTOCOL.tcp && { sequence: START }),
      ...(protocol === PROTOCOL.sctp && { sctpChunk: SCTP_CHUNK.INIT, sequence: START }),
    });
    witness.opened.push({ first, sent: START + 1, received: 1 });
    await send(witness, subject, first);
  }

  toString(): string {
    return `Open(${JSON.stringify(this.#choice)})`;
  }
}

/** What an end of an open conversation may do next. */
const MOVES = [
  "again",
  "answer",
  "data",
  "answered data",
  "fin",
  "answered fin",
  "reset",
  "answered reset",
  "error",
  "answered error",
] as const;
type Move = (typeof MOVES)[number];

function isMessage({ protocol }: Packet): boolean {
  return protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
}

function moved(talk: Witness["opened"][number], move: Move): Packet | undefined {
  const { first } = talk;
  const back = answerTo(first);
  switch (move) {
    case "again":
      return first;
    case "answer":
      return back;
    case "error":
      return isMessage(first) ? undefined : errorAbout(first);
    case "answered error":
      return isMessage(back) ? undefined : errorAbout(back);
    default:
      break;
  }
  const isAnswer = move.startsWith("answered ");
  if (first.protocol !== PROTOCOL.tcp) return isAnswer || move !== "data" ? undefined : first;
  const base = isAnswer ? back : first;
  const [sequence, acknowledgment] = isAnswer ? [talk.received, talk.sent] : [talk.sent, talk.received];
  const kind = move.replace("answered ", "");
  const payloadBytes = kind === "data" ? 100 : 0;
  const tcpFlags = kind === "data" ? P | A : kind === "fin" ? F | A : R;
  const used = payloadBytes + Number(kind === "fin");
  if (isAnswer) talk.received += used;
  else talk.sent += used;
  return { ...base, tcpFlags, sequence, acknowledgment: kind === "reset" ? 0 : acknowledgment, payloadBytes };
}

class Go implements Step {
  readonly #which: number;
  readonly #move: Move;

  constructor(which: number, move: Move) {
    this.#which = which;
    this.#move = move;
  }

  check({ opened }: Readonly<Witness>): boolean {
    return opened.length > 0;
  }

  async run(witness: Witness, subject: Subject): Promise<void> {
    // Most of the time one of the latest.
    const talk = witness.opened.at(-1 - (this.#which % witness.opened.length));
    const packet = talk && moved(talk, this.#move);
    if (packet !== undefined) await send(witness, subject, packet);
  }

  toString(): string {
    return `Go(${this.#which}, ${this.#move})`;
  }
}

/** A handshake, whatever is refused of it. */
class Shake implements Step {
  readonly #which: number;

  constructor(which: number) {
    this.#which = which;
  }

  check({ opened }: Readonly<Witness>): boolean {
    return opened.length > 0;
  }

  async run(witness: Witness, subject: Subject): Promise<void> {
    const talk = witness.opened.at(-1 - (this.#which % witness.opened.length));
    if (talk === undefined) return;
    await send(witness, subject, { ...answerTo(talk.first) });
    if (talk.first.protocol !== PROTOCOL.tcp) return;
    await send(witness, subject, { ...talk.first, tcpFlags: A, sequence: START + 1, acknowledgment: 1 });
  }

  toString(): string {
    return `Shake(${this.#which})`;
  }
}

/* ------------------------------------------------ Changes -------------------------------------------------------- */

/** Clusters to take policies and pods from: drawn once, since to draw one costs as much as to play a command. */
const OTHERS = fc.sample(clusterArbitrary(), { numRuns: 64, seed: SEED });

/** The policies of another cluster, or other pods behind the same addresses. */
class Change implements Step {
  readonly #other: number;
  readonly #what: "policies" | "pods";

  constructor(other: number, what: "policies" | "pods") {
    this.#other = other;
    this.#what = what;
  }

  check(): boolean {
    return true;
  }

  async run(witness: Witness, subject: Subject): Promise<void> {
    const { model } = witness.cluster;
    const other = OTHERS[this.#other];
    if (other === undefined) throw new RangeError(`no cluster ${this.#other}`);
    const known = new Set(model.namespaces.map(({ name }) => name));
    const next: ClusterModel =
      this.#what === "policies"
        ? { ...model, policies: other.policies.filter(({ namespace }) => known.has(namespace)) }
        : { ...model, endpoints: model.endpoints.map((pod, index) => reused(pod, other.endpoints[index])) };
    witness.cluster = resolvePolicies(next);
    subject.program = compileNode(witness.cluster, subject.strategy, { node: NODE });

    subject.fabric.load([subject.program]);
    await subject.kernel?.load(subject.program);
  }

  toString(): string {
    return `Change(${this.#what} of cluster ${this.#other})`;
  }
}

/** The pod that has its name and address from now on. */
function reused(pod: Endpoint, next: Endpoint | undefined): Endpoint {
  return next === undefined ? pod : { ...pod, labels: next.labels, ports: next.ports };
}

class Wait implements Step {
  readonly #seconds: number;

  constructor(seconds: number) {
    this.#seconds = seconds;
  }

  check(): boolean {
    return true;
  }

  async run(witness: Witness): Promise<void> {
    witness.seconds += this.#seconds;
  }

  toString(): string {
    return `Wait(${this.#seconds})`;
  }
}

/** Commands of a run; in a kernel time is its own, so there nobody waits. */
export function commandsArbitrary(time: "passes" | "stands"): fc.Arbitrary<Iterable<Step>> {
  const index = fc.nat({ max: 7 });
  const others = fc.nat({ max: OTHERS.length - 1 });
  const steps: fc.Arbitrary<Step>[] = [
    fc
      .record({
        from: index,
        to: index,
        family: fc.constantFrom<4 | 6>(4, 4, 6),
        protocol: fc.constantFrom(PROTOCOL.tcp, PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, PROTOCOL.icmp),
        port: fc.constantFrom(79, 80, 81, 90),
      })
      .map((choice) => new Open(choice)),
    index.map((which) => new Shake(which)),
    fc.tuple(index, fc.constantFrom(...MOVES)).map(([which, move]) => new Go(which, move)),
    fc.tuple(index, fc.constantFrom(...MOVES)).map(([which, move]) => new Go(which, move)),
    others.map((other) => new Change(other, "policies")),
    others.map((other) => new Change(other, "pods")),
    ...(time === "passes"
      ? [fc.constantFrom(0.5, 3, 9.9, 10, 29.9, 30, 60, 119.9, 120, 300).map((seconds) => new Wait(seconds))]
      : []),
  ];
  return fc.commands(steps, { maxCommands: 60, size: "max" });
}

/** Clusters with at least two pods, all on one node. */
export const startArbitrary: fc.Arbitrary<ClusterModel> = clusterArbitrary({ stack: "dual" })
  .map((model) => ({
    ...model,
    nodes: model.nodes.filter(({ name }) => name === NODE),
    endpoints: model.endpoints.map((pod) => ({ ...pod, node: NODE })),
  }))
  .filter(({ endpoints }) => endpoints.filter(isOnPodNetwork).length > 1);
