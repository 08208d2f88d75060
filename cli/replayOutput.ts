/** Where the report of a replay goes, in each of the formats. */
import type { IpAddress } from "../dataplane/address.ts";
import { formatCsv } from "../format/replay/csv.ts";
import { type Comparison, flowObject } from "../format/replay/flowObject.ts";
import { formatAnnotations } from "../format/replay/github.ts";
import { formatReplayHtml } from "../format/replay/html.ts";
import { formatJsonReport } from "../format/replay/json.ts";
import { formatReplayMarkdown } from "../format/replay/markdown.ts";
import { AnnotatedCapture, type AnnotatedFrames, FrameAnnotator } from "../format/replay/pcapng.ts";
import { formatReplayTable } from "../format/replay/table.ts";
import type { PushedRows } from "../replay/replay.ts";
import { isWanted, type ReplayReport } from "../replay/report.ts";
import type { CaptureInterface } from "../traffic/source.ts";
import type { DraftFile, WrittenOutput } from "./replayCheckpoint.ts";
import type { TrafficFindings } from "./replayTraffic.ts";
import type { Session } from "./session.ts";

export const REPLAY_FORMATS = ["table", "json", "jsonl", "csv", "md", "html", "github", "pcapng"] as const;
export type ReplayFormat = (typeof REPLAY_FORMATS)[number];

export interface ReplayOutputOptions {
  readonly format: ReplayFormat;
  readonly comparison: Comparison;
  /** Rows of each table. */
  readonly top: number;
  readonly session: Session;
  /** Where packets are written until all are there; undefined: to standard output as they come. */
  readonly draft?: DraftFile;
}

/** What a worker is to tell while it reads; undefined: nothing. */
export type ToldWish =
  | { readonly kind: "frames" }
  | { readonly kind: "flows"; readonly comparison: Comparison }
  | undefined;

/** What a worker tells at the end of a round: flows in several parts where there are many, the next when it is asked for. */
export type Told =
  | { readonly kind: "frames"; readonly frames: AnnotatedFrames }
  | { readonly kind: "flows"; readonly flows: readonly EndedFlow[]; readonly isLast: boolean };

/** A flow that has ended, as a line of JSON. */
export interface EndedFlow {
  readonly firstIndex: number;
  readonly line: string;
}

/** The wanted ones of flows that have ended, as lines. */
export function endedFlows(
  report: ReplayReport,
  slots: readonly number[],
  comparison: Comparison,
): readonly EndedFlow[] {
  const { table } = report.options;
  return slots
    .filter((slot) => isWanted(table, slot))
    .map((slot) => ({
      firstIndex: table.firstIndex[slot] ?? 0,
      line: JSON.stringify(flowObject(report, report.flow(slot), comparison)),
    }));
}

export class ReplayOutput {
  readonly #options: ReplayOutputOptions;
  #ended: string[] = [];
  #capture: AnnotatedCapture | undefined;
  #annotator: FrameAnnotator | undefined;
  #flushed: Promise<void> = Promise.resolve();
  #draftBytes = 0;

  constructor(options: ReplayOutputOptions) {
    this.#options = options;
  }

  /** Whether flows are written as they end, and need not be kept. */
  get isStreaming(): boolean {
    return this.#options.format === "jsonl";
  }

  /** Whether every packet is written, and not only flows. */
  get wantsPackets(): boolean {
    return this.#options.format === "pcapng";
  }

  /** What workers are to tell of their share while they read. */
  get told(): ToldWish {
    const { comparison } = this.#options;
    if (this.wantsPackets) return { kind: "frames" };
    return this.isStreaming ? { kind: "flows", comparison } : undefined;
  }

  /** Packets are about to come. */
  begin(names: Iterable<readonly [IpAddress, string]>): void {
    if (this.wantsPackets) this.#capture = new AnnotatedCapture(names);
  }

  /** What packets have left in the draft, all flushed; undefined: none are written. */
  get written(): WrittenOutput | undefined {
    return this.#capture && { bytes: this.#draftBytes, interfaces: this.#capture.interfaces };
  }

  /** Goes on behind what an earlier run has left in the draft, or begins it. */
  async resume(written: WrittenOutput | undefined): Promise<void> {
    const { draft } = this.#options;
    if (draft === undefined || this.#capture === undefined) return;
    this.#draftBytes = written?.bytes ?? 0;
    await draft.begin(this.#draftBytes);
    if (written !== undefined) this.#capture.resume(written.interfaces);
  }

  /** They come from here, and their recording has these interfaces. */
  annotate(interfaces: readonly CaptureInterface[]): void {
    if (this.wantsPackets) this.#annotator = new FrameAnnotator(interfaces);
  }

  /** Flows that have ended; written by the next `flush`. */
  ended(report: ReplayReport, slots: readonly number[]): void {
    const { comparison } = this.#options;
    for (const { line } of endedFlows(report, slots, comparison)) this.#ended.push(line);
  }

  /** Rows just pushed; only asked for when `wantsPackets`. */
  pushed(rows: PushedRows): void {
    this.#annotator?.rows(rows);
  }

  /** What all workers said of the same part of the recording; written by the next `flush`. */
  round(told: readonly Told[]): void {
    this.#capture?.add(told.flatMap((each) => (each.kind === "frames" ? [each.frames] : [])));
    const flows = told.flatMap((each) => (each.kind === "flows" ? each.flows : []));
    for (const { line } of flows.sort((a, b) => a.firstIndex - b.firstIndex)) this.#ended.push(line);
  }

  /** One after the other, whoever asks. */
  flush(): Promise<void> {
    this.#flushed = this.#flushed.then(() => this.#flush());
    return this.#flushed;
  }

  async #flush(): Promise<void> {
    const { out } = this.#options.session;
    if (this.#annotator !== undefined) this.#capture?.add([this.#annotator.take()]);
    if (this.#capture !== undefined) await this.#writePackets(this.#capture.take());
    const lines = this.#ended;
    this.#ended = [];
    for (const line of lines) await out.line(line);
  }

  async #writePackets(bytes: Uint8Array): Promise<void> {
    const { draft, session } = this.#options;
    if (draft === undefined) await session.io.stdout.write(bytes);
    else if (bytes.length > 0) {
      await draft.append(bytes);
      this.#draftBytes += bytes.length;
    }
  }

  /** In a workflow of GitHub's, what a change breaks is said there too, whatever the format. */
  async annotatePolicies(report: ReplayReport): Promise<void> {
    const { format, comparison, session } = this.#options;
    if (session.io.env.GITHUB_ACTIONS === undefined || format === "github" || comparison === "none") return;
    for (const line of formatAnnotations(report, comparison)) await session.io.stderr.write(`${line}\n`);
  }

  async write(report: ReplayReport, findings: TrafficFindings): Promise<void> {
    const { format, comparison, top, session } = this.#options;
    const { out } = session;
    switch (format) {
      case "jsonl":
        await this.flush();
        // What was not told while the recording was read.
        for (const flow of report.flows()) await out.line(JSON.stringify(flowObject(report, flow, comparison)));
        break;
      case "json":
        for (const piece of formatJsonReport(report, { ...findings, comparison })) await out.text(piece);
        break;
      case "csv":
        for (const line of formatCsv(report, comparison)) await out.text(line);
        break;
      case "md":
        for (const line of formatReplayMarkdown(report, { ...findings, comparison, top })) await out.line(line);
        break;
      case "html":
        for (const line of formatReplayHtml(report, { ...findings, comparison, top })) await out.line(line);
        break;
      case "github":
        for (const line of formatAnnotations(report, comparison)) await out.line(line);
        break;
      case "pcapng":
        await this.flush();
        for await (const piece of this.#options.draft?.pieces() ?? []) await session.io.stdout.write(piece);
        break;
      case "table": {
        const style = { comparison, top, paint: session.paint, columns: session.io.stdout.columns };
        for (const line of formatReplayTable(report, { ...findings, ...style })) await out.line(line);
        break;
      }
    }
  }
}
