/** Many packets, one row each: what became of them, what connection tracking took them for, and why. */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Packet } from "../dataplane/packet.ts";
import { type Cell, formatColumns } from "../format/columns.ts";
import { formatPacket } from "../traffic/transcript.ts";
import type { Answer } from "../verify/lane.ts";
import { namerOf } from "../verify/who.ts";
import type { Session } from "./session.ts";

export interface PacketRow {
  /** From 1. */
  readonly number: number;
  readonly strategy: string;
  readonly packet: Packet;
  readonly answer: Answer;
  readonly because: readonly string[];
  readonly failures: readonly string[];
  readonly cluster: ResolvedCluster;
}

/** Rows that are aligned together. A table of a long stream is written in blocks of as many, so that memory stays flat. */
const BLOCK_ROWS = 1000;

export class PacketTable {
  readonly #session: Session;
  readonly #isComparison: boolean;
  #rows: (readonly Cell[])[] = [];
  #namer: { readonly cluster: ResolvedCluster; readonly nameOf: ReturnType<typeof namerOf> } | undefined;

  constructor(laneCount: number, session: Session) {
    this.#session = session;
    this.#isComparison = laneCount > 1;
    this.#rows.push(
      this.#row({
        number: "#",
        packet: "packet",
        strategy: "strategy",
        verdict: "verdict",
        state: "state",
        why: "why",
      }),
    );
  }

  async packet(row: PacketRow): Promise<void> {
    const { number, strategy, packet, answer, because, failures, cluster } = row;
    this.#rows.push(
      this.#row(
        {
          number: String(number),
          packet: formatPacket(packet, this.#nameOf(cluster)),
          strategy,
          verdict: answer.verdict,
          state: answer.ctState,
          why: failures.length > 0 ? `NOT AS EXPECTED: ${failures.join("; ")}` : (because[0] ?? ""),
        },
        failures.length > 0 || answer.verdict !== "accept" ? "bad" : "good",
      ),
    );
    if (this.#rows.length >= BLOCK_ROWS) await this.end();
  }

  async change(time: number, what: string): Promise<void> {
    this.#rows.push(
      this.#row({ number: "", packet: `at ${time} s: ${what}`, strategy: "", verdict: "", state: "", why: "" }),
    );
  }

  /** Writes what is held back. */
  async end(): Promise<void> {
    const { paint, io, out } = this.#session;
    const lines = formatColumns(this.#rows, {
      paint,
      columns: io.stdout.columns,
      elastic: this.#isComparison ? [5, 1] : [4, 1],
    });
    this.#rows = [];
    for (const line of lines) await out.line(line);
  }

  #row(
    texts: Readonly<Record<"number" | "packet" | "strategy" | "verdict" | "state" | "why", string>>,
    look?: "good" | "bad",
  ): readonly Cell[] {
    return [
      { text: texts.number, align: "right" },
      { text: texts.packet },
      ...(this.#isComparison ? [{ text: texts.strategy }] : []),
      { text: texts.verdict, ...(look !== undefined && { look }) },
      { text: texts.state },
      { text: texts.why },
    ];
  }

  /** Names are looked up anew when the cluster changed. */
  #nameOf(cluster: ResolvedCluster): ReturnType<typeof namerOf> {
    if (this.#namer?.cluster !== cluster) this.#namer = { cluster, nameOf: namerOf(cluster.model) };
    return this.#namer.nameOf;
  }
}
