/**
 * Connection tracking of the dataplane beside the plain model of the reference, packet by packet: what each says of it, and
 * the entry that it leaves. Two ways in: the table alone, and a node with a program in front of it, as whose packets pass
 * in batches and may take every shortcut there is.
 */
import type { ConntrackEntry } from "../../dataplane/conntrack/entry.ts";
import type { ConntrackOptions } from "../../dataplane/conntrack/options.ts";
import { ConntrackTable } from "../../dataplane/conntrack.ts";
import type { Dataplane } from "../../dataplane/dataplane.ts";
import { createFabricResults, Fabric } from "../../dataplane/fabric.ts";
import { appendPacket, createBatch, type Packet, PROTOCOL, SCTP_CHUNK } from "../../dataplane/packet.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import { CT_STATES, VERDICT_CODE } from "../../dataplane/verdict.ts";
import { PlainConntrack, type PlainEntry } from "../../reference/conntrack/conntrack.ts";
import type { ConnectionStep } from "./conversations.ts";

/** The same settings for both sides, by the name under which findings say them. */
export interface ConntrackSetting {
  readonly name: string;
  readonly options: ConntrackOptions;
  readonly sysctls: Readonly<Record<string, number>>;
}

export const CONNTRACK_SETTINGS: readonly ConntrackSetting[] = [
  { name: "defaults", options: {}, sysctls: {} },
  { name: "not loose", options: { tcpLoose: false }, sysctls: { tcp_loose: 0 } },
  { name: "liberal", options: { tcpBeLiberal: true }, sysctls: { tcp_be_liberal: 1 } },
  {
    name: "one retransmission, any RST",
    options: { tcpMaxRetransmissions: 1, tcpIgnoreInvalidRst: true },
    sysctls: { tcp_max_retrans: 1, tcp_ignore_invalid_rst: 1 },
  },
];

/** Where the two part. */
export interface Parting {
  /** Index of the step. */
  readonly step: number;
  readonly what: string;
}

/** Told of each packet: what it is, which way it goes, what it meets. */
export type Notice = (feature: string) => void;

/** The table alone; a step says itself whether its packet is dropped. */
export function holdTable(
  steps: readonly ConnectionStep[],
  { options, sysctls }: ConntrackSetting,
  notice?: Notice,
): Parting | undefined {
  const table = new ConntrackTable(options);
  const model = new PlainConntrack(sysctls);
  const batch = createBatch(1);
  const last = new Map<string, string>();
  for (const [index, { packet, zone, isDropped }] of steps.entries()) {
    const parted = (what: string): Parting => ({ step: index, what });
    const before = notice === undefined ? undefined : model.entryOf(packet, zone);
    batch.length = 0;
    appendPacket(batch, packet);
    const state = table.lookup(batch, 0, zone);
    const { isReply } = table;
    const why = table.lastWhy();
    const said = model.see(packet, zone);
    if (isDropped) {
      table.abandon();
      model.drop();
    } else {
      table.confirm();
      model.pass();
    }
    if (notice !== undefined) {
      const left = model.entryOf(packet, zone);
      const way = said.isReply ? "reply" : "original";
      notice(`${segmentOf(packet)} ${way} ${before?.state ?? ""} ${said.state}`);
      const change = `${before?.state ?? before?.seenReply} ${way} ${said.state} ${left?.state ?? left?.seenReply} ${left?.assured}`;
      const key = conversationOf(packet, zone);
      notice(`${last.get(key) ?? ""} > ${change}${isDropped ? " dropped" : ""}`);
      last.set(key, change);
    }
    if (state !== said.state) return parted(`${state} (${why}) where the model says ${said.state}`);
    if (isReply !== said.isReply) return parted(`reply ${isReply} where the model says ${said.isReply}`);
    const tuple = packet.quoted === undefined ? { ...packet, zone } : { ...packet.quoted, icmpId: packet.icmpId, zone };
    const [own, theirs] = [entryText(table.entry(tuple)), plainText(model.entryOf(packet, zone))];
    if (own !== theirs) return parted(`leaves ${own} (${why}) where the model has ${theirs}`);
  }
  return tablesPart([...table.entries()], model.entries(), steps.length - 1);
}

/** The same for both ways, errors about a packet included. */
function conversationOf(packet: Packet, zone: number): string {
  const { protocol, source, destination, sourcePort, destinationPort } = packet.quoted ?? packet;
  const ends = [`${source.words.join(".")}:${sourcePort}`, `${destination.words.join(".")}:${destinationPort}`];
  return `${protocol} ${zone} ${ends.sort().join(" ")}`;
}

/** A node, with the memo of classes and the runs of established packets; its program decides what is dropped. */
export function holdNode(
  steps: readonly ConnectionStep[],
  program: TableProgram,
  notice?: Notice,
): Parting | undefined {
  const fabric = new Fabric([program], { engine: "memo" });
  const model = new PlainConntrack();
  const batch = createBatch(steps.length);
  const results = createFabricResults(steps.length);
  for (const { packet } of steps) appendPacket(batch, packet);
  fabric.pushBatch(batch, results);
  const [hop] = results.hops;
  for (const [index, { packet }] of steps.entries()) {
    if (hop === undefined || results.hopCount[index] === 0) continue;
    const state = CT_STATES[hop.results.ctState[index] ?? 0];
    const said = model.see(packet);
    const passes = hop.results.verdict[index] === VERDICT_CODE.accept;
    if (passes) model.pass();
    else model.drop();
    notice?.(`node ${segmentOf(packet)} ${said.isReply ? "reply" : "original"} ${state} ${passes}`);
    if (state === said.state) continue;
    return { step: index, what: `${state} where the model says ${said.state}` };
  }
  const [node] = fabric.nodes;
  return node === undefined ? undefined : tablesPart(entriesOf(node), model.entries(), steps.length - 1);
}

function entriesOf(node: Dataplane): readonly ConntrackEntry[] {
  const entries: ConntrackEntry[] = [];
  node.deleteConnections((entry) => {
    entries.push(entry);
    return false;
  });
  return entries;
}

function tablesPart(own: readonly ConntrackEntry[], theirs: readonly PlainEntry[], step: number): Parting | undefined {
  const ours = new Set(own.map((entry) => `${tupleText(entry)} ${entryText(entry)}`));
  const models = new Set(theirs.map((entry) => `${tupleText(entry)} ${plainText(entry)}`));
  for (const text of ours)
    if (!models.has(text)) return { step, what: `at the end has ${text}, which the model has not` };
  for (const text of models) if (!ours.has(text)) return { step, what: `at the end has not ${text}` };
  return undefined;
}

function entryText(entry: ConntrackEntry | undefined): string {
  return entry === undefined ? "nothing" : textOf(entry, entry.timeout);
}

function plainText(entry: PlainEntry | undefined): string {
  return entry === undefined ? "nothing" : textOf(entry, entry.leftMs / 1000);
}

type Seen = Pick<PlainEntry, "state" | "seenReply" | "assured">;

function textOf({ state = "", seenReply, assured }: Seen, seconds: number): string {
  return `${state} ${seconds.toFixed(3)}s${seenReply ? "" : " unreplied"}${assured ? " assured" : ""}`.trim();
}

function tupleText(entry: ConntrackEntry | PlainEntry): string {
  const { protocol, source, destination, sourcePort, destinationPort, icmp, zone } = entry;
  const message = icmp === undefined ? "" : ` ${icmp.id}/${icmp.type}/${icmp.code}`;
  const ends = [source, destination].map(({ words }) => words.join(".")).join(" > ");
  return `zone ${zone} protocol ${protocol} ${ends} ports ${sourcePort} ${destinationPort}${message}`;
}

/** What kind of packet it is, in a word or two. */
export function segmentOf({ protocol, tcpFlags, sctpChunk, icmpType }: Packet): string {
  switch (protocol) {
    case PROTOCOL.tcp:
      return `tcp ${tcpFlags}`;
    case PROTOCOL.sctp:
      return `sctp ${Object.entries(SCTP_CHUNK).find(([, chunk]) => chunk === sctpChunk)?.[0] ?? sctpChunk}`;
    default:
      return `protocol ${protocol} ${icmpType}`;
  }
}
