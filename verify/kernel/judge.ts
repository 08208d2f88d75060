/**
 * The kernel as judge: the same packets through our dataplane and through kernel nodes that loaded the same programs as
 * text, compared one by one.
 */

import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import type { Family } from "../../dataplane/address.ts";
import { Fabric, type FabricOptions } from "../../dataplane/fabric.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { RejectWith, Rule, TableProgram } from "../../dataplane/program.ts";
import type { Hop, PacketResult, WalkEntry } from "../../dataplane/result.ts";
import { KernelNode, type KernelResult } from "./node.ts";
import type { RuleText, Variant } from "./rules.ts";
import { rejectIsSilent } from "./silence.ts";
import { addressKey } from "./topology.ts";

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

/** What answers for our side: a `Fabric`, or one with a deliberate mistake in it. */
export type Accused = Pick<Fabric, "push">;

export interface JudgeOptions {
  readonly variant: Variant;
  /** Compare the rules that matched, too. */
  readonly walks: boolean;
  /** As in `FabricOptions`: every packet meets this node alone. */
  readonly only?: string;
  readonly accused?: (programs: readonly TableProgram[], options: FabricOptions) => Accused;
}

/** One disagreement about one packet on one node. */
export interface Difference {
  /** Index among the packets of the run. */
  readonly index: number;
  readonly packet: Packet;
  readonly node: string;
  /** What the kernel did. */
  readonly expected: string;
  /** What we said. */
  readonly actual: string;
}

export interface JudgeReport {
  /** Packets compared on at least one node. */
  readonly packets: number;
  /** Comparisons of a verdict, one for each node a packet met, and of those the ones with a walk. */
  readonly hops: number;
  readonly walks: number;
  /** Hops whose verdict we call unknown, which are not compared. */
  readonly unknown: number;
  /** Accepted, dropped and rejected hops: a run in which one is 0 says little. */
  readonly verdicts: Readonly<Record<KernelResult["verdict"], number>>;
  readonly differences: readonly Difference[];
}

/** Packets that are at one time on the way; more would only wait in pipes. */
const CHUNK = 2048;

/** Differences to describe; the rest follows from them more often than not. */
const DESCRIBED = 10;

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
      for (const { program } of subjects) {
        const { variant, walks } = options;
        const node = await KernelNode.start(program.attachment, { variant, walks, timeouts: "endless" });
        nodes.set(program.node, node);
      }
      await judge.load(subjects);
    } catch (error) {
      await judge.close();
      throw error;
    }
    return judge;
  }

  /** Replaces the programs of all nodes; pods and interfaces must be those of before. */
  async load(subjects: readonly Subject[]): Promise<void> {
    for (const { program, text } of subjects) await this.#node(program.node).load(text, program);
    this.#subjects = subjects;
    this.#knowledge = knowledgeOf(subjects.map(({ program }) => program));
  }

  /** Sends the packets, in order, into tables without connections, and compares. */
  async run(packets: readonly Packet[]): Promise<JudgeReport> {
    const { walks, only, accused = (programs, options) => new Fabric(programs, options) } = this.#options;
    for (const node of this.#nodes.values()) await node.flush();
    const fabric = accused(
      this.#subjects.map(({ program }) => program),
      { walk: walks, ...(only === undefined ? {} : { only }) },
    );
    const comparison = new Comparison(this.#knowledge, walks);
    let pending: Promise<void> = Promise.resolve();
    for (let start = 0; start < packets.length; start += CHUNK) {
      const ours = packets.slice(start, start + CHUNK).map((packet, index) => ({
        packet,
        index: start + index,
        result: fabric.push(packet),
      }));
      // The kernel works on this chunk while we do the next.
      await pending;
      pending = this.#compare(ours, comparison);
      pending.catch(() => {}); // awaited in the next turn
    }
    await pending;
    return comparison.report();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#nodes.values()].map((node) => node.close()));
  }

  async #compare(ours: readonly Judged[], comparison: Comparison): Promise<void> {
    await Promise.all(
      [...this.#nodes].map(async ([name, node]) => {
        const met = ours.flatMap((judged) => {
          const hop = judged.result.hops.find((one) => one.node === name);
          return hop === undefined ? [] : [{ judged, hop }];
        });
        const results = await node.push(met.map(({ judged }) => judged.packet));
        for (const [index, { judged, hop }] of met.entries()) {
          const kernel = results[index];
          if (kernel === undefined) throw new Error(`packet ${judged.index} has no result on ${name}`);
          comparison.add(judged, hop, kernel);
        }
      }),
    );
  }

  #node(name: string): KernelNode {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new Error(`no kernel node ${name}`);
    return node;
  }
}

interface Judged {
  readonly packet: Packet;
  readonly index: number;
  readonly result: PacketResult;
}

class Comparison {
  readonly #knowledge: Knowledge;
  readonly #walks: boolean;
  readonly #packets = new Set<number>();
  readonly #verdicts = { accept: 0, drop: 0, reject: 0 };
  readonly #differences: Difference[] = [];
  #walkCount = 0;
  #unknown = 0;

  constructor(knowledge: Knowledge, walks: boolean) {
    this.#knowledge = knowledge;
    this.#walks = walks;
  }

  add({ packet, index }: Judged, hop: Hop, kernel: KernelResult): void {
    if (hop.verdict === "unknown") {
      this.#unknown++;
      return;
    }
    this.#packets.add(index);
    this.#verdicts[kernel.verdict]++;
    if (this.#walks) this.#walkCount++;
    const ours = { verdict: hop.verdict, rejectedWith: this.#rejectionOf(packet, hop), walk: hop.walk };
    if (this.#agree(packet, hop, kernel)) return;
    this.#differences.push({ index, packet, node: hop.node, expected: describe(kernel), actual: describe(ours) });
  }

  report(): JudgeReport {
    const { accept, drop, reject } = this.#verdicts;
    return {
      packets: this.#packets.size,
      hops: accept + drop + reject,
      walks: this.#walkCount,
      unknown: this.#unknown,
      verdicts: { accept, drop, reject },
      differences: this.#differences.toSorted((a, b) => a.index - b.index).slice(0, DESCRIBED),
    };
  }

  #agree(packet: Packet, hop: Hop, kernel: KernelResult): boolean {
    const rejectedWith = this.#rejectionOf(packet, hop);
    if (hop.verdict === "reject" && kernel.verdict === "drop") {
      const origin = this.#knowledge.local.get(hop.node)?.has(addressKey(packet.source)) ? "sent" : "arrived";
      if (rejectedWith === undefined || !rejectIsSilent(packet, rejectedWith, origin)) return false;
    } else if (hop.verdict !== kernel.verdict || rejectedWith !== kernel.rejectedWith) return false;
    if (!this.#walks) return true;
    return sameWalk(this.#certain(packet, hop.node, hop.walk), this.#certain(packet, hop.node, kernel.walk));
  }

  #rejectionOf({ source }: Packet, { verdict, decidedBy }: Hop): RejectWith | undefined {
    if (verdict !== "reject" || decidedBy?.kind !== "rule") return undefined;
    const { node, table, chain, rule } = decidedBy;
    return this.#knowledge.rejections.get(rulePlace(node, source.family, [table, chain, rule]));
  }

  /** Without the rules that match by the clock. */
  #certain({ source }: Packet, node: string, walk: readonly WalkEntry[] = []): readonly WalkEntry[] {
    const { limited } = this.#knowledge;
    if (limited.size === 0) return walk;
    return walk.filter((entry) => !limited.has(rulePlace(node, source.family, entry)));
  }
}

interface Answer {
  readonly verdict: KernelResult["verdict"];
  readonly rejectedWith: RejectWith | undefined;
  readonly walk: readonly WalkEntry[] | undefined;
}

function sameWalk(ours: readonly WalkEntry[], kernel: readonly WalkEntry[]): boolean {
  return (
    ours.length === kernel.length &&
    ours.every((entry, index) => entry.every((part, position) => part === kernel[index]?.[position]))
  );
}

function describe({ verdict, rejectedWith, walk }: Answer): string {
  const way = walk === undefined ? "" : ` by ${walk.map((entry) => entry.join(" ")).join(", ") || "no rule"}`;
  return `${verdict}${rejectedWith === undefined ? "" : ` with ${rejectedWith}`}${way}`;
}

function rulePlace(node: string, family: Family, entry: WalkEntry): string {
  return `${node} ${family} ${entry.join(" ")}`;
}

/** What the comparison must know of the programs, by `rulePlace`. */
interface Knowledge {
  /** How each REJECT rule rejects. */
  readonly rejections: ReadonlyMap<string, RejectWith>;
  /** Rules under `-m limit`, which match by the clock. To us a limit always holds; it only ever guards logging. */
  readonly limited: ReadonlySet<string>;
  /** Keys of a node's own addresses, by node. */
  readonly local: ReadonlyMap<string, ReadonlySet<number | string>>;
}

function knowledgeOf(programs: readonly TableProgram[]): Knowledge {
  const rejections = new Map<string, RejectWith>();
  const limited = new Set<string>();
  for (const { node, families } of programs) {
    for (const { family, tables } of families) {
      for (const table of tables) {
        for (const chain of table.chains) {
          for (const [index, { matches, target }] of chain.rules.entries()) {
            const place = rulePlace(node, family, [table.name, chain.name, index + 1]);
            if (target?.kind === "reject") rejections.set(place, target.with);
            if (matches.some(({ kind }) => kind === "limit")) limited.add(place);
          }
        }
      }
    }
  }
  const local = programs.map(({ node, attachment }) => {
    return [node, new Set(attachment.localAddresses.map(addressKey))] as const;
  });
  return { rejections, limited, local: new Map(local) };
}
