/**
 * The kernel as judge: the same packets through our dataplane and through kernel nodes that loaded the same programs as
 * text, compared one by one.
 */

import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import { Fabric, type FabricOptions } from "../../dataplane/fabric.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Rule, TableProgram } from "../../dataplane/program.ts";
import type { PacketResult } from "../../dataplane/result.ts";
import { Comparison, type JudgeReport, type Knowledge, knowledgeOf } from "./comparison.ts";
import { KernelNode, type KernelResult } from "./node.ts";
import type { RuleText, Variant } from "./rules.ts";

/** A program as we execute it, and the text that the kernel loads for it. */
export interface Subject {
  readonly program: TableProgram;
  readonly text: RuleText;
}

/** The subject of a program that is rendered as usual, but for its translations. */
export function subjectOf(program: TableProgram): Subject {
  const loaded = withoutTranslation(program);
  return {
    program,
    text: {
      sets: renderIpsetSave(loaded),
      ipv4: renderIptablesSave(loaded, 4),
      ipv6: renderIptablesSave(loaded, 6),
    },
  };
}

/**
 * Address translation is not modelled: rules of the nat table end its walk, the addresses stay. So that later packets of a
 * translated connection stay comparable, the kernel gets ACCEPT in their place, which ends the walk too.
 */
export function withoutTranslation(program: TableProgram): TableProgram {
  const accept = (rule: Rule): Rule => (rule.target?.kind === "nat" ? { ...rule, target: { kind: "accept" } } : rule);
  const families = program.families.map(({ family, tables }) => ({
    family,
    tables: tables.map((table) => ({
      ...table,
      chains: table.chains.map((chain) => ({ ...chain, rules: chain.rules.map(accept) })),
    })),
  }));
  return { ...program, families };
}

export interface JudgeOptions {
  readonly variant: Variant;
  /** Compare the rules that matched, too. */
  readonly walks: boolean;
  /** As in `FabricOptions`: every packet meets this node alone. */
  readonly only?: string;
}

/** Packets that are at one time on the way; more would only wait in pipes. */
const CHUNK = 2048;

/** A packet, and what we say of it. */
interface Judged {
  readonly packet: Packet;
  readonly index: number;
  readonly result: PacketResult;
}

type Tell = (judged: Judged, node: string, kernel: KernelResult) => void;

function fabricOptions({ walks, only }: JudgeOptions): FabricOptions {
  return { walk: walks, ...(only === undefined ? {} : { only }) };
}

/** What the kernel did with packets, to be compared with more than one accused. */
export interface Recording {
  readonly programs: readonly TableProgram[];
  readonly packets: readonly Packet[];
  /** One for each node that a packet met, in the order of the packets. */
  readonly results: readonly { readonly index: number; readonly node: string; readonly kernel: KernelResult }[];
}

/** Kernel nodes for a fixed list of nodes. Programs may be exchanged as long as their attachments stay. */
export class KernelJudge {
  readonly #options: JudgeOptions;
  readonly #nodes: ReadonlyMap<string, KernelNode>;
  #subjects: readonly Subject[] = [];
  #knowledge: Knowledge = knowledgeOf([]);

  private constructor(nodes: ReadonlyMap<string, KernelNode>, options: JudgeOptions) {
    this.#nodes = nodes;
    this.#options = options;
  }

  /** Starts a kernel node for each subject and loads it. Throws with the kernel's words when it refuses a text. */
  static async start(subjects: readonly Subject[], options: JudgeOptions): Promise<KernelJudge> {
    const nodes = new Map<string, KernelNode>();
    const judge = new KernelJudge(nodes, options);
    try {
      await Promise.all(
        subjects.map(async ({ program, text }) => {
          const { variant, walks } = options;
          const node = await KernelNode.start(program.attachment, { variant, walks, timeouts: "endless" });
          nodes.set(program.node, node);
          await node.load(text, program);
        }),
      );
      judge.#accept(subjects);
    } catch (error) {
      await judge.close();
      throw error;
    }
    return judge;
  }

  /** Replaces the programs of all nodes; pods and interfaces must be those of before. */
  async load(subjects: readonly Subject[]): Promise<void> {
    await Promise.all(subjects.map(({ program, text }) => this.#node(program.node).load(text, program)));
    this.#accept(subjects);
  }

  #accept(subjects: readonly Subject[]): void {
    this.#subjects = subjects;
    this.#knowledge = knowledgeOf(subjects.map(({ program }) => program));
  }

  /** Sends the packets, in order, into tables without connections, and compares. */
  async run(packets: readonly Packet[]): Promise<JudgeReport> {
    const comparison = new Comparison(this.#knowledge, this.#options.walks);
    await this.#walk(packets, ({ packet, index, result }, node, kernel) => {
      const hop = result.hops.find((one) => one.node === node);
      if (hop !== undefined) comparison.add({ packet, index }, hop, kernel);
    });
    return comparison.report();
  }

  /** What the kernel does with the packets, for `compareRecorded`. */
  async record(packets: readonly Packet[]): Promise<Recording> {
    const results: Recording["results"][number][] = [];
    await this.#walk(packets, ({ index }, node, kernel) => results.push({ index, node, kernel }));
    const programs = this.#subjects.map(({ program }) => program);
    return { programs, packets, results: results.toSorted((a, b) => a.index - b.index) };
  }

  /** Pushes packets through our side, and those that meet a node there through the kernel's. Both begin anew. */
  async #walk(packets: readonly Packet[], tell: Tell): Promise<void> {
    for (const node of this.#nodes.values()) await node.flush();
    const fabric = new Fabric(
      this.#subjects.map(({ program }) => program),
      fabricOptions(this.#options),
    );
    let pending: Promise<void> = Promise.resolve();
    for (let start = 0; start < packets.length; start += CHUNK) {
      const ours = packets.slice(start, start + CHUNK).map((packet, index) => ({
        packet,
        index: start + index,
        result: fabric.push(packet),
      }));
      // The kernel works on this chunk while we do the next.
      await pending;
      pending = this.#ask(ours, tell);
      pending.catch(() => {}); // awaited in the next turn
    }
    await pending;
  }

  async #ask(ours: readonly Judged[], tell: Tell): Promise<void> {
    await Promise.all(
      [...this.#nodes].map(async ([name, node]) => {
        const met = ours.filter(({ result }) => result.hops.some((hop) => hop.node === name));
        const results = await node.push(met.map(({ packet }) => packet));
        for (const [index, judged] of met.entries()) {
          const kernel = results[index];
          if (kernel === undefined) throw new Error(`packet ${judged.index} has no result on ${name}`);
          tell(judged, name, kernel);
        }
      }),
    );
  }

  /** Ends all nodes; nothing of them is left. */
  async close(): Promise<void> {
    await Promise.all([...this.#nodes.values()].map((node) => node.close()));
  }

  #node(name: string): KernelNode {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new Error(`no kernel node ${name}`);
    return node;
  }
}

/** What can be compared with a recording: a `Fabric`, or one with a deliberate mistake in it. */
export type Accused = (programs: readonly TableProgram[], options: FabricOptions) => Pick<Fabric, "push">;

/** Compares what the kernel did with what somebody else says of the same packets. `options` as they were recorded. */
export function compareRecorded(recording: Recording, accused: Accused, options: JudgeOptions): JudgeReport {
  const { programs, packets, results } = recording;
  const fabric = accused(programs, fabricOptions(options));
  const comparison = new Comparison(knowledgeOf(programs), options.walks);
  let next = 0;
  for (const [index, packet] of packets.entries()) {
    const { hops } = fabric.push(packet);
    for (let found = results[next]; found?.index === index; found = results[++next]) {
      const { node, kernel } = found;
      const hop = hops.find((one) => one.node === node);
      if (hop === undefined) comparison.addMissing({ packet, index }, node, kernel);
      else comparison.add({ packet, index }, hop, kernel);
    }
  }
  return comparison.report();
}
