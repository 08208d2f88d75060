/** One node in the kernel: devices, rules and connection tracking, and what becomes of packets that meet them. */
import type { Packet } from "../../dataplane/packet.ts";
import type { Attachment, FamilyTables, TableProgram } from "../../dataplane/program.ts";
import type { WalkEntry } from "../../dataplane/result.ts";
import { encodePacket, packetLength } from "../../traffic/encodePacket.ts";
import { type ConntrackEvent, conntrackEvents } from "./conntrackEvent.ts";
import { ITEM, Oracle, Requests } from "./oracle.ts";
import { type Outcome, outcomeOf, type SentPacket } from "./outcome.ts";
import { LEGACY_TRACE_SCRIPT, RuleLoader, type RuleText, type Variant } from "./rules.ts";
import { FRAME_BYTES, Topology, writeFrame } from "./topology.ts";
import { type WalkReader, walkReader } from "./walk.ts";

export interface KernelNodeOptions {
  readonly variant: Variant;
  /** Report the rules that matched; costs half of the speed. */
  readonly walks: boolean;
  /** Report connection-tracking events. */
  readonly events?: boolean;
  /** `endless`: connections outlive every test, for packets that all carry one time. Default: the kernel's timeouts. */
  readonly timeouts?: "endless";
  /** As in `OracleOptions`. */
  readonly checksums?: "verify";
  /** Settings below `/proc/sys/net` of the namespace, path to value. */
  readonly sysctls?: ReadonlyMap<string, string>;
}

export interface KernelResult extends Outcome {
  /** Rules whose matches all held, in order; undefined unless asked for. */
  readonly walk: readonly WalkEntry[] | undefined;
  /** Undefined unless asked for. */
  readonly events: readonly ConntrackEvent[] | undefined;
}

export interface PaceOptions {
  readonly rounds: number;
  /** Whether connections are forgotten before each round. */
  readonly forget: "connections" | "nothing";
}

/** Identifications go from 1 to here and begin anew: 16 bits in IPv4, and 0 means "none". */
const MAX_IDENTIFICATION = 0xffff;

/** A day each, where the shortest is 3 seconds (SCTP). */
const ENDLESS_TIMEOUTS_SCRIPT = `for timeout in /proc/sys/net/netfilter/nf_conntrack_*_timeout*; do
  echo 86400 > $timeout
done`;

/**
 * A node of its own in the kernel. Rules are loaded with `load`, connections live until `flush`, everything ends with
 * `close`. Packets are pushed one after another, in order; two pushes at once would mix their connections.
 */
export class KernelNode {
  readonly topology: Topology;
  readonly #oracle: Oracle;
  readonly #loader: RuleLoader;
  readonly #options: KernelNodeOptions;
  #readWalk: WalkReader | undefined;

  private constructor(oracle: Oracle, topology: Topology, options: KernelNodeOptions) {
    this.topology = topology;
    this.#oracle = oracle;
    this.#loader = new RuleLoader(oracle, { variant: options.variant, trace: options.walks });
    this.#options = options;
  }

  /** A node whose pods hang on it as `attachment` says, without rules. */
  static async start(attachment: Attachment, options: KernelNodeOptions): Promise<KernelNode> {
    const topology = new Topology(attachment);
    const oracle = await Oracle.start({
      devices: topology.devices,
      ...(options.walks ? { trace: options.variant } : {}),
      ...(options.events ? { events: true } : {}),
      ...(options.checksums === undefined ? {} : { checksums: options.checksums }),
    });
    try {
      const settings = [...(options.sysctls ?? [])].map(([path, value]) => `echo '${value}' > /proc/sys/net/${path}`);
      const steps = [
        topology.script,
        ...(options.walks ? [LEGACY_TRACE_SCRIPT] : []),
        ...(options.timeouts === "endless" ? [ENDLESS_TIMEOUTS_SCRIPT] : []),
        ...settings,
      ];
      await oracle.runAside(steps.join("\n"));
      return new KernelNode(oracle, topology, options);
    } catch (error) {
      await oracle.close();
      throw error;
    }
  }

  /** Replaces the rules. `program` is what the text says. Throws when it is refused. */
  async load(
    text: RuleText,
    program: Pick<TableProgram, "families">,
    connections: "forgotten" | "kept" = "forgotten",
  ): Promise<void> {
    const { variant, walks } = this.#options;
    await this.#loader.load(text);
    if (walks) this.#readWalk = walkReader(variant, this.#oracle, ruleCounts(program.families));
    if (connections === "forgotten") await this.flush();
  }

  /** What the kernel holds now, as the tools print it. */
  save(): Required<RuleText> {
    return this.#loader.save();
  }

  /** Forgets all connections. */
  async flush(): Promise<void> {
    const requests = new Requests();
    requests.flush();
    await this.#oracle.exchange(requests);
  }

  /** Pushes packets through the node, each from where its source address hangs. One result each, in order. */
  async push(packets: readonly Packet[]): Promise<readonly KernelResult[]> {
    const requests = new Requests();
    const sent = packets.map((packet, index) => this.#write(requests, packet, (index % MAX_IDENTIFICATION) + 1));
    const answers = await this.#oracle.exchange(requests);
    return answers.map((answer, index) => {
      const { outcome, family } = { outcome: sent[index], family: packets[index]?.source.family };
      if (outcome === undefined || family === undefined) throw new Error(`answer ${index} to no packet`);
      return {
        ...outcomeOf(answer, outcome, this.topology.devices),
        walk: this.#readWalk?.(answer.items, family),
        events: this.#options.events ? conntrackEvents(answer) : undefined,
      };
    });
  }

  /**
   * What packets cost: pushes them `rounds` times, each from where its source address hangs, and answers nanoseconds of
   * processor time a packet, the write to the device included. They must be few enough for one request: 500 small ones are.
   */
  async pace(packets: readonly Packet[], { rounds, forget }: PaceOptions): Promise<number> {
    const arrivals = packets.map((packet) => {
      const arrival = this.topology.arrivalOf(packet.source, packet.destination);
      if (arrival.kind === "node") throw new Error("what the node sends itself is not paced");
      const header = arrival.frame === undefined ? 0 : FRAME_BYTES;
      return { packet, ...arrival, header, length: header + packetLength(packet) };
    });
    const requests = new Requests();
    const total = arrivals.reduce((sum, { length }) => sum + 4 + length, 8);
    const start = requests.pace(total);
    const view = new DataView(requests.bytes.buffer);
    view.setUint32(start, rounds, true);
    view.setUint32(start + 4, forget === "connections" ? 1 : 0, true);
    let at = start + 8;
    for (const { packet, device, frame, header, length } of arrivals) {
      view.setUint16(at, device, true);
      view.setUint16(at + 2, length, true);
      if (frame !== undefined) writeFrame(requests.bytes, at + 4, frame, packet.source.family);
      encodePacket(packet, requests.bytes, at + 4 + header, { identification: 1 });
      at += 4 + length;
    }
    const [answer] = await this.#oracle.exchange(requests);
    const item = answer?.items.find(({ kind }) => kind === ITEM.pace);
    if (item === undefined) throw new Error("the kernel helper did not say what packets cost");
    const { buffer, byteOffset } = item.bytes;
    return Number(new DataView(buffer, byteOffset, 8).getBigUint64(0, true)) / rounds / packets.length;
  }

  /** Runs a shell script in the node's namespace and returns what it printed. */
  run(script: string): string {
    return this.#oracle.run(script);
  }

  /** Ends the node; nothing of it is left. */
  close(): Promise<void> {
    return this.#oracle.close();
  }

  get pid(): number {
    return this.#oracle.pid;
  }

  #write(requests: Requests, packet: Packet, identification: number): SentPacket {
    const length = packetLength(packet);
    const arrival = this.topology.arrivalOf(packet.source, packet.destination);
    const sent = { identification, protocol: packet.protocol, length };
    if (arrival.kind === "node") {
      const at = requests.send(length);
      encodePacket(packet, requests.bytes, at, { identification });
      return sent;
    }
    const header = arrival.frame === undefined ? 0 : FRAME_BYTES;
    const at = requests.inject(arrival.device, header + length);
    if (arrival.frame !== undefined) writeFrame(requests.bytes, at, arrival.frame, packet.source.family);
    encodePacket(packet, requests.bytes, at + header, { identification });
    return sent;
  }
}

function ruleCounts(
  families: readonly FamilyTables[],
): (family: number, table: string, chain: string) => number | undefined {
  const counts = new Map<string, number>();
  for (const { family, tables } of families) {
    for (const table of tables) {
      for (const chain of table.chains) counts.set(`${family} ${table.name} ${chain.name}`, chain.rules.length);
    }
  }
  return (family, table, chain) => counts.get(`${family} ${table} ${chain}`);
}
