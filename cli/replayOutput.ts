/** Where the report of a replay goes, in each of the formats. */
import type { ReplayReport } from "../replay/report.ts";
import { formatCsv } from "./format/replay/csv.ts";
import { type Comparison, flowObject } from "./format/replay/flowObject.ts";
import { formatJsonReport } from "./format/replay/json.ts";
import { formatReplayTable } from "./format/replay/table.ts";
import type { TrafficFindings } from "./replayRun.ts";
import type { Session } from "./session.ts";

export const REPLAY_FORMATS = ["table", "json", "jsonl", "csv"] as const;
export type ReplayFormat = (typeof REPLAY_FORMATS)[number];

export interface ReplayOutputOptions {
  readonly format: ReplayFormat;
  readonly comparison: Comparison;
  /** Rows of each table. */
  readonly top: number;
  readonly session: Session;
}

export class ReplayOutput {
  readonly #options: ReplayOutputOptions;
  #ended: string[] = [];

  constructor(options: ReplayOutputOptions) {
    this.#options = options;
  }

  /** Whether flows are written as they end, and need not be kept. */
  get isStreaming(): boolean {
    return this.#options.format === "jsonl";
  }

  /** Flows that have ended; written by the next `flush`. */
  ended(report: ReplayReport, slots: readonly number[]): void {
    const { comparison } = this.#options;
    for (const slot of slots) this.#ended.push(JSON.stringify(flowObject(report, report.flow(slot), comparison)));
  }

  async flush(): Promise<void> {
    const { out } = this.#options.session;
    const lines = this.#ended;
    this.#ended = [];
    for (const line of lines) await out.line(line);
  }

  async write(report: ReplayReport, findings: TrafficFindings): Promise<void> {
    const { format, comparison, top, session } = this.#options;
    const { out } = session;
    switch (format) {
      case "jsonl":
        await this.flush();
        break;
      case "json":
        for (const piece of formatJsonReport(report, { ...findings, comparison })) await out.text(piece);
        break;
      case "csv":
        for (const line of formatCsv(report, comparison)) await out.text(line);
        break;
      case "table": {
        const style = { comparison, top, paint: session.paint, columns: session.io.stdout.columns };
        for (const line of formatReplayTable(report, { ...findings, ...style })) await out.line(line);
        break;
      }
    }
  }
}
