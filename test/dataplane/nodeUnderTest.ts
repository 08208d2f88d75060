/**
 * Tests of the dataplane read as packet transcripts: a node is written as its save files, packets in the one-line form
 * `tcp 10.0.0.1:40000 > 10.0.0.2:80 S`, and what became of a packet is told in one line.
 */
import type { Family } from "../../dataplane/address.ts";
import { Fabric, type FabricOptions } from "../../dataplane/fabric.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Attachment, TableProgram } from "../../dataplane/program.ts";
import type { Decision, Hop, PacketResult } from "../../dataplane/result.ts";
import { isProblem, packetOf, parsePacketText } from "../../traffic/transcript.ts";
import { address } from "../../verify/fuzz/builders.ts";
import { programOf } from "../compiler/importing.ts";

/** A packet from its one-line form; `more` for what that form has no word for. */
export function packetFrom(line: string, more: Partial<Packet> = {}): Packet {
  const text = parsePacketText(line);
  if (isProblem(text)) throw new Error(text.problem);
  const packet = packetOf(text, address);
  if (isProblem(packet)) throw new Error(packet.problem);
  return { ...packet, ...more };
}

/** node-a: two pods on interfaces of their own, cali0 and cali1, everything else behind eth0. */
export const ROUTED: Attachment = {
  uplink: "eth0",
  localAddresses: ["192.168.0.11", "fd00:192::11"].map(address),
  remotePodAddresses: [],
  pods: [
    { endpoint: "default/zero", addresses: ["10.1.0.10", "fd00:1::10"].map(address), interface: "cali0" },
    { endpoint: "default/one", addresses: ["10.1.0.11", "fd00:1::11"].map(address), interface: "cali1" },
  ],
};

export interface NodeTexts {
  /** Lines of iptables-save or ip6tables-save: tables with their chains; COMMIT lines may be left out. */
  readonly rules: string;
  readonly family?: Family;
  /** Lines of ipset save. */
  readonly sets?: string;
  readonly attachment?: Attachment;
  readonly node?: string;
}

/** The program of a node in a few lines. */
export function nodeProgram({
  rules,
  family = 4,
  sets = "",
  attachment = ROUTED,
  node = "node-a",
}: NodeTexts): TableProgram {
  const save = `${trimLines(rules).replaceAll("\n*", "\nCOMMIT\n*")}\nCOMMIT\n`;
  const texts = family === 4 ? { ipv4: save } : { ipv6: save };
  return { ...programOf({ ...texts, sets: `${trimLines(sets)}\n`, attachment }), node };
}

function trimLines(text: string): string {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .join("\n");
}

/** A node with the given rules, asked packet by packet. */
export class NodeUnderTest {
  readonly fabric: Fabric;

  constructor(texts: NodeTexts, options: FabricOptions = {}) {
    this.fabric = new Fabric([nodeProgram(texts)], { walk: true, only: texts.node ?? "node-a", ...options });
  }

  push(packet: Packet | string): PacketResult {
    return this.fabric.push(typeof packet === "string" ? packetFrom(packet) : packet);
  }

  /** Verdict and who decided: `drop by FORWARD 2`; the table is named when it is not filter. */
  says(packet: Packet | string): string {
    return told(this.push(packet));
  }

  /** The rules that matched on the way: `FORWARD 1, POD 2`. */
  walk(packet: Packet | string): string {
    return this.push(packet).hops.flatMap(walked).join(", ");
  }
}

/** `accept`, `drop by FORWARD 2`, `reject by raw PREROUTING 1`. */
export function told({ verdict, decidedBy }: PacketResult): string {
  return decidedBy === undefined ? verdict : `${verdict} by ${decider(decidedBy)}`;
}

function decider(decision: Decision): string {
  if (decision.kind === "map") return `${decision.map} ${decision.key}`;
  return `${decision.table === "filter" ? "" : `${decision.table} `}${decision.chain} ${decision.rule}`;
}

function walked({ walk = [] }: Hop): readonly string[] {
  return walk.map(([table, chain, number]) => `${table === "filter" ? "" : `${table} `}${chain} ${number}`);
}

/** The nodes that saw a packet, with what they said: `node-a accept, node-b drop`. */
export function hopsOf({ hops }: PacketResult): string {
  return hops.map(({ node, verdict }) => `${node} ${verdict}`).join(", ");
}
