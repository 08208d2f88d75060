/** One pass of a recording through the sides of a replay. */
import { hasErrors } from "../compiler/issue.ts";
import { type ClusterModel, isOnPodNetwork } from "../compiler/model.ts";
import type { IpAddress } from "../dataplane/address.ts";
import { Duplicates } from "../replay/duplicates.ts";
import { type FlowFilter, Replay } from "../replay/replay.ts";
import { isWanted, ReplayReport } from "../replay/report.ts";
import { type LoadedSetup, servicesOf } from "../replay/setup.ts";
import { BATCH_ROWS } from "../traffic/source.ts";
import { resolverOf } from "../verify/who.ts";
import { EXIT } from "./io.ts";
import type { ReplayOutput } from "./replayOutput.ts";
import { Recording, type TrafficFindings } from "./replayTraffic.ts";
import type { Session } from "./session.ts";

export interface RunOptions {
  readonly session: Session;
  readonly loaded: LoadedSetup;
  /** Index of the main side. */
  readonly main: number;
  readonly filter: FlowFilter | undefined;
  /** Of names without one. */
  readonly namespace: string;
  readonly duplicates: "kept" | "counted once";
  /** Undefined: nobody looks at packets or flows while the recording is read. */
  readonly output?: ReplayOutput;
}

export class ReplayRun {
  readonly report: ReplayReport;
  readonly findings: TrafficFindings = { skipped: new Map(), notes: [] };
  readonly #options: RunOptions;
  readonly #replay: Replay;
  readonly #services: ReturnType<typeof servicesOf>;

  constructor(options: RunOptions) {
    this.#options = options;
    const { loaded, output, filter, main } = options;
    const { sides, book } = loaded;
    this.#services = servicesOf(loaded);
    this.#replay = new Replay(
      {
        sides,
        main,
        book,
        ...(filter !== undefined && { filter }),
        ...(this.#services !== undefined && { services: this.#services }),
        ...(output?.wantsPackets === true && { onPushed: (rows) => output.pushed(rows) }),
        ...(output?.isStreaming === true && {
          onEnded: (table, slots) =>
            output.ended(
              this.report,
              slots.filter((slot) => isWanted(table, slot)),
            ),
        }),
      },
      BATCH_ROWS,
    );
    const { table, tally, timeline } = this.#replay;
    const causes = sides.map((side) => side.causes);
    this.report = new ReplayReport({ table, sides, causes, main, book, tally, timeline });
  }

  /** Reads everything, or as much as the user has patience for. */
  async read(names: readonly string[]): Promise<void> {
    const { session, loaded, main, namespace, output, duplicates: wanted } = this.#options;
    const { io } = session;
    const model = loaded.sides[main]?.cluster.model;
    if (model === undefined) throw new RangeError(`side ${main} of ${loaded.sides.length}`);
    const resolve = resolverOf(model, namespace);
    const frames = output?.wantsPackets === true ? "copied" : "left out";
    const recording = await Recording.open(io, names, { resolve, frames });
    output?.begin(namesOf(model), recording.merged.interfaces);
    const duplicates = new Duplicates(recording.merged.interfaces);
    if (wanted === "counted once") this.#replay.recognise(duplicates);
    const progress = session.progress("packets", () => recording.share());
    try {
      for await (const batch of recording.merged.batches()) {
        this.#replay.consume(batch);
        await output?.flush();
        if (!(await progress.step(batch.packets.length))) break;
      }
    } catch (error) {
      // Ctrl-C takes standard input away in the middle of waiting for it; what is done is reported.
      if (!io.interrupted.aborted) throw error;
    } finally {
      await progress.done();
    }
    await this.#told(recording, duplicates);
    if (io.interrupted.aborted) {
      this.findings.notes.push(`interrupted after ${this.#replay.index} packets; the report is about those`);
    }
    this.#settle();
  }

  async #told(recording: Recording, duplicates: Duplicates): Promise<void> {
    const { session } = this.#options;
    const { skipped, notes, issues } = recording.findings();
    for (const [reason, count] of skipped) this.findings.skipped.set(reason, count);
    this.findings.notes.push(...notes);
    if (duplicates.count > 0) {
      this.findings.skipped.set("copy of a packet recorded on another interface", duplicates.count);
      this.findings.notes.push(
        `${duplicates.count} packets were recorded on more than one interface and are counted once; --keep-duplicates replays them all`,
      );
    }
    await session.report(issues);
    if (hasErrors(issues)) session.end(EXIT.invalid);
  }

  #settle(): void {
    const { table, tally } = this.#replay;
    this.#replay.finish();
    if (this.#options.output?.isStreaming !== true) for (const slot of table.ordered()) tally.add(table, slot);
    this.findings.notes.push(...notesOf(this.report, this.#services?.guessed ?? []));
  }
}

/** Pods and nodes by address, for who shows names in the place of addresses. */
function namesOf({ nodes, endpoints }: ClusterModel): readonly (readonly [IpAddress, string])[] {
  const pods = endpoints.filter(isOnPodNetwork);
  return [
    ...nodes.flatMap(({ name, addresses }) => addresses.map((address) => [address, `node:${name}`] as const)),
    ...pods.flatMap(({ key, addresses }) => addresses.map((address) => [address, key] as const)),
  ];
}

/** What the numbers do not say by themselves. */
function notesOf(report: ReplayReport, guessed: readonly string[]): readonly string[] {
  const { tally } = report.options;
  const notes: string[] = [];
  const { startMissing } = tally;
  if (startMissing > 0) {
    const flows = startMissing === 1 ? "1 flow begins" : `${startMissing} flows begin`;
    notes.push(
      `${flows} before the recording: the first packet seen decides, as on a node that meets a connection in its middle`,
    );
  }
  const missing = tally.unknownAddresses().filter(({ isPodAddress }) => isPodAddress);
  if (missing.length > 0) {
    const shown = missing.slice(0, 3).map(({ address }) => address);
    notes.push(
      `${missing.length} ${missing.length === 1 ? "address is" : "addresses are"} of a node's pod range and no pod of the manifests has it: ${shown.join(", ")}${missing.length > 3 ? ", …" : ""}`,
    );
  }
  if (guessed.length > 0) {
    notes.push(
      `the recording does not show which endpoint answered for ${guessed.join(", ")}; the first of each was taken`,
    );
  }
  return notes;
}
