/** A thread's share of a replay: the flows whose hash falls on its number, of a recording that every thread reads as a whole. */
import { FrameAnnotator } from "../format/replay/pcapng.ts";
import { type FilterSetup, filterOf } from "../replay/filter/filter.ts";
import type { FlowTableState } from "../replay/flowTable.ts";
import { type ReplayOptions, type ReplayState, SWEEP_ROWS } from "../replay/replay.ts";
import { ReplayReport } from "../replay/report.ts";
import { loadSetup, type ReplaySetup } from "../replay/setup.ts";
import type { Cause } from "../replay/side.ts";
import type { TallyState } from "../replay/tally.ts";
import type { TimelineState } from "../replay/timeline.ts";
import { BATCH_ROWS } from "../traffic/source.ts";
import { type EndedFlow, endedFlows, type Told, type ToldWish } from "./replayOutput.ts";
import { ReplayPass } from "./replayPass.ts";
import type { ReadFindings, TrafficIo } from "./replayTraffic.ts";

export interface ShareSetup {
  readonly setup: ReplaySetup;
  readonly filter: FilterSetup;
  readonly namespace: string;
  readonly duplicates: "kept" | "counted once";
  readonly share: { readonly index: number; readonly of: number };
  /** Of the files, in order. */
  readonly names: readonly string[];
  /** Seconds that the clock of each is ahead. */
  readonly ahead: readonly number[];
  readonly told: ToldWish;
  /** Go on from there. */
  readonly from: ReplayState | undefined;
}

export interface ShareResult {
  readonly table: FlowTableState;
  /** By side. */
  readonly causes: readonly (readonly Cause[])[];
  readonly timeline: TimelineState;
  /** Of flows that were told, which are not in the table. */
  readonly tally: TallyState;
  readonly findings: ReadFindings;
  /** Rows seen, of every share. */
  readonly index: number;
}

/** Who hears of it. */
export interface ShareListener {
  readonly packets: (count: number) => void;
  /** Resolves when more of the same round may be told. */
  readonly round: (told: Told) => Promise<void>;
}

export class ReplayShare {
  readonly #setup: ShareSetup;
  readonly #pass: ReplayPass;
  readonly #listener: ShareListener;
  readonly #report: ReplayReport;
  #annotator: FrameAnnotator | undefined;
  /** Flows of a round are to be told as soon as the batch is done. */
  #isRoundOver = false;

  constructor(setup: ShareSetup, listener: ShareListener) {
    this.#setup = setup;
    this.#listener = listener;
    const { filter, namespace, duplicates, share, from } = setup;
    const { main } = setup.setup;
    const { loaded } = loadSetup(setup.setup, BATCH_ROWS);
    if (loaded === undefined) throw new Error("the manifests were good in the main thread, and are not here");
    const models = loaded.sides.map(({ cluster }) => cluster.model);
    const made = filterOf(filter, models, loaded.book);
    if (made !== undefined && "refusal" in made) throw new Error(made.refusal.join("\n"));
    this.#pass = new ReplayPass({
      loaded,
      main,
      filter: made,
      namespace,
      duplicates,
      share,
      ...this.#tellingOptions(),
    });
    const { sides, book } = loaded;
    const causes = sides.map((side) => side.causes);
    const { table, tally, timeline, steps } = this.#pass.replay;
    this.#report = new ReplayReport({ table, sides, causes, main, book, tally, timeline, steps });
    if (from !== undefined) this.#pass.replay.restore(from);
  }

  /** Everything so far, between two batches; undefined: rows are still read over, and `from` says more. */
  save(): ReplayState | undefined {
    const { replay } = this.#pass;
    return replay.isPushing ? replay.save() : undefined;
  }

  async read(io: TrafficIo): Promise<ShareResult> {
    const { replay } = this.#pass;
    const recording = await this.#pass.open(io, this.#setup.names, this.#setup.ahead);
    this.#annotator = new FrameAnnotator(recording.merged.interfaces);
    await this.#pass.run(recording, async (count) => {
      this.#listener.packets(count);
      await this.#tellEnded();
      return true;
    });
    replay.finish();
    await this.#tellEnded();
    return {
      table: replay.table.save(),
      causes: this.#report.options.causes,
      timeline: replay.timeline.state(),
      tally: replay.tally.state(),
      findings: this.#pass.findings(recording),
      index: replay.index,
    };
  }

  #tellingOptions(): Pick<ReplayOptions, "ended" | "onPushed" | "rounds"> {
    const { told } = this.#setup;
    switch (told?.kind) {
      case "flows":
        return {
          ended: "told",
          rounds: {
            rows: SWEEP_ROWS,
            onEnd: () => {
              this.#isRoundOver = true;
            },
          },
        };
      case "frames":
        return {
          onPushed: (rows) => this.#annotator?.rows(rows),
          rounds: { rows: BATCH_ROWS, onEnd: () => this.#tellFrames() },
        };
      default:
        return {};
    }
  }

  /** The flows that ended in the round that is over, a part after the other. */
  async #tellEnded(): Promise<void> {
    const { told } = this.#setup;
    if (!this.#isRoundOver || told?.kind !== "flows") return;
    this.#isRoundOver = false;
    let held: readonly EndedFlow[] = [];
    for (const slots of this.#pass.replay.takeEnded()) {
      const flows = endedFlows(this.#report, slots, told.comparison);
      if (flows.length === 0) continue;
      if (held.length > 0) await this.#listener.round({ kind: "flows", flows: held, isLast: false });
      held = flows;
    }
    await this.#listener.round({ kind: "flows", flows: held, isLast: true });
  }

  #tellFrames(): void {
    if (this.#annotator !== undefined) void this.#listener.round({ kind: "frames", frames: this.#annotator.take() });
  }
}
