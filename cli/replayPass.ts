/** The recording through the sides, without a word to anybody: what the main thread and its workers have in common. */
import type { ClusterModel } from "../compiler/model.ts";
import { Duplicates } from "../replay/duplicates.ts";
import { Masquerades } from "../replay/masquerades.ts";
import type { MergedTraffic } from "../replay/mergeTraffic.ts";
import { withNeighbours } from "../replay/neighbours.ts";
import { CapturePoints } from "../replay/places.ts";
import { type FlowFilter, Replay, type ReplayOptions } from "../replay/replay.ts";
import { withReplicas } from "../replay/replicas.ts";
import { type LoadedSetup, servicesOf } from "../replay/setup.ts";
import { BATCH_ROWS, type TrafficBatch } from "../traffic/source.ts";
import { resolverOf } from "../verify/who.ts";
import { type ReadFindings, Recording, type TrafficIo } from "./replayTraffic.ts";

export interface PassOptions extends Pick<ReplayOptions, "share" | "ended" | "onPushed" | "rounds"> {
  readonly loaded: LoadedSetup;
  /** Index of the main side. */
  readonly main: number;
  readonly filter: FlowFilter | undefined;
  /** Of names without one. */
  readonly namespace: string;
  readonly duplicates: "kept" | "counted once";
}

export class ReplayPass {
  readonly replay: Replay;
  readonly #options: PassOptions;
  readonly #services: ReturnType<typeof servicesOf>;
  #duplicates: Duplicates | undefined;
  #masquerades: Masquerades | undefined;

  constructor(options: PassOptions) {
    this.#options = options;
    const { loaded, main, filter, share, ended, onPushed, rounds } = options;
    const { sides, book, places, story } = loaded;
    this.#services = servicesOf(loaded);
    this.replay = new Replay(
      {
        sides,
        main,
        book,
        ...(filter !== undefined && { filter }),
        ...(this.#services !== undefined && { services: this.#services }),
        ...(story !== undefined && { story }),
        ...(share !== undefined && { share }),
        places,
        ...(ended !== undefined && { ended }),
        ...(onPushed !== undefined && { onPushed }),
        ...(rounds !== undefined && { rounds }),
      },
      BATCH_ROWS,
    );
  }

  /** `ahead`: seconds that the clock of each file is ahead. */
  open(io: TrafficIo, names: readonly string[], ahead: readonly number[]): Promise<Recording> {
    const { loaded, namespace, onPushed } = this.#options;
    const model = this.#model;
    const frames = onPushed === undefined ? "left out" : "copied";
    const resolve = loaded.story?.resolver(namespace) ?? withReplicas(resolverOf(model, namespace), model);
    return Recording.open(io, names, { resolve, frames, ahead });
  }

  get #model(): ClusterModel {
    const { loaded, main } = this.#options;
    const model = loaded.sides[main]?.cluster.model;
    if (model === undefined) throw new RangeError(`side ${main} of ${loaded.sides.length}`);
    return model;
  }

  /** Until `proceed` says false; it is asked after each batch. */
  async run({ merged }: Recording, proceed: (count: number) => Promise<boolean>): Promise<void> {
    this.#duplicates = new Duplicates(merged.interfaces);
    this.#masquerades = new Masquerades(this.#model);
    if (this.#options.duplicates === "counted once") this.replay.recognise(this.#duplicates, this.#masquerades);
    this.replay.locate(pointsOf(this.#options.loaded, merged));
    for await (const batch of this.#batches(merged)) {
      this.replay.consume(batch);
      if (!(await proceed(batch.packets.length))) return;
    }
  }

  async *#batches(merged: MergedTraffic): AsyncGenerator<TrafficBatch> {
    const services = this.#services;
    if (services?.looksAround !== true) {
      yield* merged.batches();
      return;
    }
    for await (const { before, batch, after } of withNeighbours(merged.batches())) {
      services.lookAround(before, after);
      yield batch;
    }
  }

  findings(recording: Recording): ReadFindings {
    return {
      ...recording.findings(),
      copies: this.#options.duplicates === "counted once" ? (this.#duplicates?.count ?? 0) : 0,
      masqueraded: this.#masquerades?.count ?? 0,
      guessedServices: this.#services?.guessed ?? [],
    };
  }
}

/** What is known of the recording's interfaces: the side that stands for its time, the first, says how pods hang on nodes. */
function pointsOf({ sides, places, book }: LoadedSetup, { interfaces, sourceOf }: MergedTraffic): CapturePoints {
  const [side] = sides;
  if (side === undefined) throw new RangeError("no sides");
  const { filtersBeforeLeaving } = side;
  const attachments = () => side.attachments;
  return new CapturePoints({ places, interfaces, fileOf: sourceOf, attachments, filtersBeforeLeaving, book });
}
