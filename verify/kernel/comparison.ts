/** What the kernel did and what we say, packet for packet. */
import type { Family } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { RejectWith, TableProgram } from "../../dataplane/program.ts";
import type { Hop, WalkEntry } from "../../dataplane/result.ts";
import type { KernelResult } from "./node.ts";
import { rejectIsSilent } from "./silence.ts";
import { addressKey } from "./topology.ts";

/** One disagreement about one packet on one node. */
export interface Difference {
  /** Index among the packets of the run. */
  readonly index: number;
  readonly packet: Packet;
  readonly node: string;
  /** The kernel's verdict on this node. */
  readonly expected: KernelResult["verdict"];
  /** Ours; undefined: with us the packet never got there. */
  readonly actual: KernelResult["verdict"] | undefined;
  /** What either did, in words: the difference may be in the answer to the sender, or in the rules that matched. */
  readonly because: readonly [kernel: string, ours: string];
}

export interface JudgeReport {
  /** Packets compared on at least one node. */
  readonly packets: number;
  /** Comparisons of a verdict, one for each node a packet met, and of those the ones with a walk. */
  readonly hops: number;
  readonly walks: number;
  /** Hops whose verdict we call unknown, which are not compared. */
  readonly unknown: number;
  /** Comparisons by node. */
  readonly nodes: Readonly<Record<string, number>>;
  /** Accepted, dropped and rejected hops: a run in which one is 0 says little. */
  readonly verdicts: Readonly<Record<KernelResult["verdict"], number>>;
  readonly differences: readonly Difference[];
}

/** Differences to describe; the rest follows from them more often than not. */
const DESCRIBED = 10;

/** Collects the comparisons of one run. */
export class Comparison {
  readonly #knowledge: Knowledge;
  readonly #walks: boolean;
  readonly #packets = new Set<number>();
  readonly #verdicts = { accept: 0, drop: 0, reject: 0 };
  readonly #differences: Difference[] = [];
  readonly #nodes: Record<string, number> = {};
  #walkCount = 0;
  #unknown = 0;

  constructor(knowledge: Knowledge, walks: boolean) {
    this.#knowledge = knowledge;
    this.#walks = walks;
  }

  /** What we say of a packet on one node, and what the kernel did with it there. */
  add({ packet, index }: Pick<Difference, "packet" | "index">, hop: Hop, kernel: KernelResult): void {
    if (hop.verdict === "unknown") {
      this.#unknown++;
      return;
    }
    this.#packets.add(index);
    this.#verdicts[kernel.verdict]++;
    this.#nodes[hop.node] = (this.#nodes[hop.node] ?? 0) + 1;
    if (this.#walks) this.#walkCount++;
    const ours = { verdict: hop.verdict, rejectedWith: this.#rejectionOf(packet, hop), walk: hop.walk };
    if (this.#agree(packet, hop, kernel)) return;
    this.#differences.push({
      index,
      packet,
      node: hop.node,
      expected: kernel.verdict,
      actual: ours.verdict,
      because: [`kernel: ${describe(kernel)}`, `chainwalk: ${describe(ours)}`],
    });
  }

  /** The kernel had a packet on a node where ours never came. */
  addMissing({ packet, index }: Pick<Difference, "packet" | "index">, node: string, kernel: KernelResult): void {
    this.#packets.add(index);
    this.#verdicts[kernel.verdict]++;
    this.#differences.push({
      index,
      packet,
      node,
      expected: kernel.verdict,
      actual: undefined,
      because: [`kernel: ${describe(kernel)}`, "chainwalk: it never got there"],
    });
  }

  report(): JudgeReport {
    const { accept, drop, reject } = this.#verdicts;
    return {
      packets: this.#packets.size,
      hops: accept + drop + reject,
      walks: this.#walkCount,
      unknown: this.#unknown,
      nodes: { ...this.#nodes },
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
export interface Knowledge {
  /** How each REJECT rule rejects. */
  readonly rejections: ReadonlyMap<string, RejectWith>;
  /** Rules under `-m limit`, which match by the clock. To us a limit always holds; it only ever guards logging. */
  readonly limited: ReadonlySet<string>;
  /** Keys of a node's own addresses, by node. */
  readonly local: ReadonlyMap<string, ReadonlySet<number | string>>;
}

export function knowledgeOf(programs: readonly TableProgram[]): Knowledge {
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
