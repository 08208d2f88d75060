/**
 * Histories: connections begin and go on while pods come, go and take each other's addresses and policies change. The
 * programs of today are loaded into the nodes of yesterday, whose connection tracking lives on.
 *
 * What must become of a packet follows from what the history was so far. A packet of no known connection is new: the
 * policies of today decide, as for any first packet. A packet of a connection that was accepted passes whatever the
 * policies say by now, except where a solution asks them again (map programs do, in the direction in which the connection
 * was opened). Nothing is said where it depends on what is not written anywhere: connections that were refused on the
 * way, which one node may remember and the other not, and those an end of which has moved to another node.
 */
import { type ResolvedCluster, resolvePolicies } from "../../compiler/resolve.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { formatAddress, type IpAddress } from "../../dataplane/address.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { makePacket, type Packet, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import type { Program } from "../../dataplane/program.ts";
import type { Verdict } from "../../dataplane/verdict.ts";
import { evaluate } from "../../reference/evaluate.ts";
import type { Random } from "../kernel/random.ts";
import { REFERENCE } from "../lane.ts";
import { meantVerdict } from "../meant.ts";
import { compileAll } from "./answers.ts";
import type { Disagreement, FuzzCase, FuzzStep } from "./case.ts";
import { type Coverage, programFeatures } from "./coverage.ts";
import { edgePackets } from "./edges.ts";
import { Followers } from "./followers.ts";
import { mutateCluster, type Source } from "./mutate.ts";

const { S, A, P } = TCP_FLAG;

/** Steps of a history, at most. */
const MOST_STEPS = 28;

/** Draws a history that begins with the cluster. */
export function drawHistory(model: FuzzCase["model"], source: Source): FuzzCase {
  const { random } = source;
  const steps: FuzzStep[] = [];
  const open: Packet[] = [];
  let now = model;
  let clients = 0;
  for (let count = 6 + random.below(MOST_STEPS - 6); count > 0; count--) {
    if (random.oneIn(5)) {
      now = mutateCluster(now, undefined, source);
      steps.push({ kind: "change", model: now });
      continue;
    }
    const known = open.length > 0 && !random.oneIn(3) ? random.pick(open) : undefined;
    if (known !== undefined) {
      steps.push(...nextPackets(known, random));
      continue;
    }
    const drawn = edgePackets(now, random, 4).filter(({ protocol }) => TRACKED.has(protocol));
    if (drawn.length === 0) continue;
    const packet = { ...random.pick(drawn), sourcePort: FIRST_CLIENT + clients++ };
    open.push(packet);
    steps.push({ kind: "packet", packet });
  }
  return { model, steps, fresh: false };
}

/** Below the ports that policies of the tiny world name, each used once. */
const FIRST_CLIENT = 30_000;

/** Whose conversations are drawn on; of other protocols only first packets would be. */
const TRACKED: ReadonlySet<number> = new Set([PROTOCOL.tcp, PROTOCOL.udp]);

function nextPackets(first: Packet, random: Random): readonly FuzzStep[] {
  const answer = turned(first);
  if (first.protocol === PROTOCOL.udp) return [{ kind: "packet", packet: random.oneIn(2) ? answer : first }];
  // A handshake first: what comes before its end is not part of the conversation.
  const hand: Packet = { ...answer, tcpFlags: S | A, acknowledgment: 1 };
  const ack: Packet = { ...first, tcpFlags: A, sequence: 1, acknowledgment: 1 };
  const more = random.oneIn(2)
    ? { ...ack, tcpFlags: P | A }
    : { ...answer, tcpFlags: A, sequence: 1, acknowledgment: 1 };
  return [hand, ack, more].map((packet) => ({ kind: "packet", packet }));
}

function turned(packet: Packet): Packet {
  const { protocol, source, destination, sourcePort, destinationPort } = packet;
  return makePacket({
    protocol,
    source: destination,
    destination: source,
    sourcePort: destinationPort,
    destinationPort: sourcePort,
  });
}

/** One connection as the history made it. */
interface Connection {
  /** The way it was opened. */
  readonly first: Packet;
  /** Where both ends were. */
  readonly places: string;
  /** Every packet so far passed, so that all nodes on the way know it. */
  isWhole: boolean;
  /** Something came back; of TCP, the answer to the SYN. */
  isAnswered: boolean;
}

/** Holds a history against what must become of each packet. */
export function holdHistory(accused: Strategy, subject: FuzzCase, coverage?: Coverage): Disagreement | undefined {
  const named = { accused: accused.name, against: REFERENCE };
  let cluster = resolvePolicies(subject.model);
  let programs = compileAll(cluster, accused);
  const fabric = new Fabric(programs);
  const followers = new Followers(accused, cluster);
  const connections = new Map<string, Connection>();
  let kinds = "";
  for (const [index, step] of subject.steps.entries()) {
    if (step.kind === "change") {
      cluster = resolvePolicies(step.model);
      const fresh = compileAll(cluster, accused);
      followers.follow(cluster, fresh);
      programs = followers.programs(fresh);
      fabric.load(programs);
      if (coverage !== undefined) for (const program of programs) programFeatures(program, coverage);
      kinds = `${kinds.slice(-24)} change`;
      continue;
    }
    const { packet } = step;
    const known = connections.get(tupleKey(packet));
    const actual = fabric.push(packet).verdict;
    const meeting: Meeting = { accused, cluster, programs, packet, known };
    const expected = expectedOf(meeting);
    remember(connections, meeting, actual);
    kinds = `${kinds.slice(-24)} ${known === undefined ? "new" : known.first === packet ? "more" : "answer"} ${actual[0]}`;
    coverage?.text(`${accused.name} history ${kinds}`);
    if (expected !== undefined && expected !== actual) {
      return { ...named, step: index, expected, actual, thrown: undefined };
    }
  }
  return undefined;
}

interface Meeting {
  readonly accused: Strategy;
  readonly cluster: ResolvedCluster;
  readonly programs: readonly Program[];
  readonly packet: Packet;
  readonly known: Connection | undefined;
}

/** Undefined: nothing is said. */
function expectedOf(meeting: Meeting): Verdict | undefined {
  const { packet, cluster, known, programs } = meeting;
  if (known === undefined) return opens(packet) ? policyVerdict(meeting) : undefined;
  if (!known.isWhole || known.places !== placesOf(cluster, known.first)) return undefined;
  if (packet.protocol === PROTOCOL.tcp && !known.isAnswered && !isAnswer(packet)) return undefined;
  const isForward = tupleKey(packet) === tupleKey(known.first);
  // Until something comes back, more of the same is new to nf_conntrack (IP_CT_NEW): the policies of today are asked.
  if (isForward && !known.isAnswered) return policyVerdict(meeting);
  return isForward && programs.some(({ kind }) => kind === "maps") ? policyVerdict(meeting) : "accept";
}

function opens({ protocol, tcpFlags }: Packet): boolean {
  return protocol !== PROTOCOL.tcp || tcpFlags === S;
}

function isAnswer({ tcpFlags }: Packet): boolean {
  return tcpFlags === (S | A);
}

function policyVerdict({ accused, cluster, packet }: Meeting): Verdict {
  const { verdict } = evaluate(cluster.model, packet);
  return meantVerdict(accused, { cluster, packet, said: verdict }).verdict;
}

function remember(connections: Map<string, Connection>, { cluster, packet, known }: Meeting, actual: Verdict): void {
  if (known !== undefined) {
    if (actual !== "accept") known.isWhole = false;
    const isReply = tupleKey(packet) !== tupleKey(known.first);
    if (isAnswer(packet) || (isReply && packet.protocol === PROTOCOL.udp)) known.isAnswered = true;
    return;
  }
  const isWhole = actual === "accept" && opens(packet);
  const connection = { first: packet, places: placesOf(cluster, packet), isWhole, isAnswered: false };
  connections.set(tupleKey(packet), connection);
  connections.set(tupleKey(turned(packet)), connection);
}

function tupleKey({ protocol, source, destination, sourcePort, destinationPort }: Packet): string {
  return `${protocol} ${formatAddress(source)} ${sourcePort} ${formatAddress(destination)} ${destinationPort}`;
}

/** On which node each end is, and whether it is a pod. */
function placesOf(cluster: ResolvedCluster, { source, destination }: Packet): string {
  return `${placeOf(cluster, source)} ${placeOf(cluster, destination)}`;
}

function placeOf({ pods, model }: ResolvedCluster, address: IpAddress): string {
  const text = formatAddress(address);
  const has = ({ addresses }: { readonly addresses: readonly IpAddress[] }) =>
    addresses.some((own) => formatAddress(own) === text);
  const pod = pods.find(has);
  if (pod !== undefined) return `pod on ${pod.node}`;
  return model.nodes.find(has)?.name ?? "outside";
}
