/** One pass of a recording through the sides of a replay. */
import { hasErrors } from "../compiler/issue.ts";
import { type ClusterModel, isOnPodNetwork } from "../compiler/model.ts";
import { formatAddress, type IpAddress } from "../dataplane/address.ts";
import { timeText } from "../format/replay/words.ts";
import { type FilterSetup, filterOf } from "../replay/filter/filter.ts";
import type { FlowFilter } from "../replay/replay.ts";
import { ReplayReport } from "../replay/report.ts";
import type { LoadedSetup, ReplaySetup } from "../replay/setup.ts";
import type { Cause } from "../replay/side.ts";
import { EXIT, UsageError } from "./io.ts";
import type { CheckpointFile, Progress } from "./replayCheckpoint.ts";
import { clockNotes, clocksOf } from "./replayClocks.ts";
import { type Crew, replayInWorkers } from "./replayJobs.ts";
import type { ReplayOutput } from "./replayOutput.ts";
import { ReplayPass } from "./replayPass.ts";
import type { ReadFindings, TrafficFindings } from "./replayTraffic.ts";
import type { Session } from "./session.ts";

export interface RunOptions {
  readonly session: Session;
  readonly setup: ReplaySetup;
  readonly loaded: LoadedSetup;
  readonly filter: FilterSetup;
  /** Of names without one. */
  readonly namespace: string;
  readonly duplicates: "kept" | "counted once";
  /** Threads. */
  readonly jobs: number;
  /** Where to leave and find what was done; undefined: nowhere. */
  readonly checkpoint?: CheckpointFile;
  /** Undefined: nobody looks at packets or flows while the recording is read. */
  readonly output?: ReplayOutput;
  /** Seconds that the clock of each file is ahead, where another run over them has found out. */
  readonly ahead?: readonly number[];
}

export class ReplayRun {
  readonly findings: TrafficFindings = { skipped: new Map(), notes: [] };
  readonly #options: RunOptions;
  readonly #pass: ReplayPass;
  #report: ReplayReport;
  /** Seconds that the clock of each file is ahead: known once `read` has begun. */
  ahead: readonly number[];

  /** Throws a `UsageError` when the filter means nothing. */
  constructor(options: RunOptions) {
    this.#options = options;
    const { loaded, output, setup, namespace, duplicates, ahead = [] } = options;
    this.ahead = ahead;
    this.#pass = new ReplayPass({
      loaded,
      main: setup.main,
      filter: flowFilter(options),
      namespace,
      duplicates,
      ...(output?.wantsPackets === true && { onPushed: (rows) => output.pushed(rows) }),
      ended: this.#isStreaming ? "told" : "kept",
    });
    this.#report = this.#reportOf(loaded.sides.map((side) => side.causes));
  }

  get report(): ReplayReport {
    return this.#report;
  }

  /** Reads everything, or as much as the user has patience for. */
  async read(names: readonly string[]): Promise<void> {
    const { session, jobs, output, loaded, setup } = this.#options;
    const { io } = session;
    if (output?.wantsPackets === true) {
      const start = loaded.sides[setup.main]?.cluster;
      const clusters = [
        ...(start === undefined ? [] : [start]),
        ...(loaded.story?.story.steps ?? []).map(({ cluster }) => cluster),
      ];
      output.begin(namesOf(clusters.map(({ model }) => model)));
    }
    if (this.#options.ahead === undefined) this.ahead = await this.#clocks(names);
    const index = jobs > 1 ? await this.#readInWorkers(names) : await this.#readHere(names);
    if (io.interrupted.aborted) {
      this.findings.notes.push(`interrupted after ${index} packets; the report is about those`);
    }
    const { replay } = this.#pass;
    replay.finish();
    await this.#tell();
    if (!this.#isStreaming) for (const slot of replay.table.ordered()) replay.tally.add(replay.table, slot);
    this.findings.notes.push(...notesOf(this.#report), ...this.#elsewhere());
  }

  /** Only where copies have to be told by their times. */
  async #clocks(names: readonly string[]): Promise<readonly number[]> {
    if (this.#options.duplicates === "kept") return [];
    const differences = await clocksOf(this.#options.session.io, names);
    this.findings.notes.push(...clockNotes(names, differences));
    return differences.map(({ seconds }) => seconds);
  }

  /** A node records what it sends, gets and forwards for its pods; anything else says that names and places do not fit. */
  #elsewhere(): readonly string[] {
    const { places } = this.#options.loaded;
    const { elsewhere, disproved } = this.#pass.replay.tally;
    const notes: string[] = [];
    if (elsewhere > 0) {
      const names = [...new Set(places.map(({ node, pod }) => pod ?? node))].join(" or ");
      notes.push(
        `${elsewhere} ${elsewhere === 1 ? "flow has" : "flows have"} neither end on ${names}, where the recording was made: the manifests may be of another time, or the capture of another node`,
      );
    }
    if (disproved > 0) {
      const [first] = this.#options.loaded.sides;
      const side = this.#options.setup.main > 0 ? ` ${first?.name}` : "";
      notes.push(
        `${disproved} ${disproved === 1 ? "flow is" : "flows are"} refused${side} and had passed every policy where the recording was made: other policies were in force then`,
      );
    }
    return notes;
  }

  get #isStreaming(): boolean {
    const { output, checkpoint } = this.#options;
    return output?.isStreaming === true && checkpoint === undefined;
  }

  async #readHere(names: readonly string[]): Promise<number> {
    const { session, output } = this.#options;
    const { io } = session;
    const recording = await this.#pass.open(io, names, this.ahead);
    output?.annotate(recording.merged.interfaces);
    const resumed = await this.#resumed();
    await output?.resume(resumed?.output);
    const [state] = resumed?.states ?? [];
    if (state !== undefined) this.#pass.replay.restore(state);
    const progress = session.progress("packets", () => recording.share());
    try {
      await this.#pass.run(recording, async (count) => {
        await this.#tell();
        if (this.#options.checkpoint?.isDue(io.now()) === true) await this.#saveCheckpoint();
        return progress.step(count);
      });
    } catch (error) {
      // Ctrl-C takes standard input away in the middle of waiting for it; what is done is reported.
      if (!io.interrupted.aborted) throw error;
    } finally {
      await progress.done();
    }
    if (io.interrupted.aborted) {
      await output?.flush();
      await this.#saveCheckpoint();
    }
    await this.#told(this.#pass.findings(recording));
    return this.#pass.replay.index;
  }

  /** Writes what has come so far. */
  async #tell(): Promise<void> {
    const { output } = this.#options;
    for (const slots of this.#pass.replay.takeEnded()) {
      output?.ended(this.#report, slots);
      await output?.flush();
    }
    await output?.flush();
  }

  /** What a run has done that was killed. */
  async #resumed(): Promise<Progress | undefined> {
    const { checkpoint, session } = this.#options;
    const progress = await checkpoint?.load();
    if (progress === undefined) return undefined;
    await session.note(`resumed after ${Math.min(...progress.states.map(({ index }) => index))} packets`);
    return progress;
  }

  async #saveCheckpoint(): Promise<void> {
    const { checkpoint, session, output } = this.#options;
    const { replay } = this.#pass;
    // While rows are read over, the file already says more.
    if (checkpoint === undefined || !replay.isPushing) return;
    const state = replay.save();
    const written = output?.written;
    if (state !== undefined) {
      await checkpoint.save({ states: [state], ...(written && { output: written }) }, session.io.now());
    }
  }

  async #readInWorkers(names: readonly string[]): Promise<number> {
    const { session, setup, filter, namespace, duplicates, jobs, output, checkpoint } = this.#options;
    const { io } = session;
    const sizes = await Promise.all(names.map((name) => (name === "-" ? undefined : io.sizeOf(name))));
    const total = sizes.reduce<number>((sum, size) => sum + (size ?? Number.NaN), 0);
    let read = 0;
    const told = this.#isStreaming || output?.wantsPackets === true ? output?.told : undefined;
    const from = (await this.#resumed())?.states;
    const progress = session.progress("packets", () => (total > 0 ? read / total : undefined));
    // Several files are fed abreast, and one at a time writes.
    let saving: Promise<void> | undefined;
    try {
      const { causes, findings, index } = await replayInWorkers(this.#pass.replay, {
        io,
        jobs,
        worker: { setup, filter, namespace, duplicates, names, ahead: this.ahead, told },
        from,
        proceed: async (count, crew) => {
          await output?.flush();
          const goesOn = await progress.step(count);
          // What comes after an interruption is the end of a recording that has not ended: not for a run that goes on.
          if (checkpoint !== undefined && (checkpoint.isDue(io.now()) || !goesOn)) {
            saving ??= saveCrew(crew, checkpoint, () => io.now()).finally(() => {
              saving = undefined;
            });
            await saving;
          }
          return goesOn;
        },
        onRead: (bytes) => {
          read += bytes;
        },
        onRound: (round) => output?.round(round),
        onPart: async () => output?.flush(),
      });
      this.#report = this.#reportOf(causes);
      await this.#told(findings);
      return index;
    } finally {
      await progress.done();
    }
  }

  #reportOf(causes: readonly (readonly Cause[])[]): ReplayReport {
    const { sides, book, story } = this.#options.loaded;
    const { table, tally, timeline, steps } = this.#pass.replay;
    const { main } = this.#options.setup;
    return new ReplayReport({ table, sides, causes, main, book, tally, timeline, steps, ...(story && { story }) });
  }

  async #told({ skipped, notes, issues, copies, masqueraded, guessedServices }: ReadFindings): Promise<void> {
    const { session } = this.#options;
    for (const [reason, count] of skipped) this.findings.skipped.set(reason, count);
    this.findings.notes.push(...notes);
    if (copies > 0) {
      this.findings.skipped.set("copy of a packet recorded on another interface", copies);
      this.findings.notes.push(
        `${copies} packets were recorded on more than one interface and are counted once; --keep-duplicates replays them all`,
      );
    }
    if (masqueraded > 0) {
      this.findings.notes.push(
        `${masqueraded} ${masqueraded === 1 ? "connection was" : "connections were"} sent on under the node's own address and ${masqueraded === 1 ? "is" : "are"} counted once, as the pod's`,
      );
    }
    if (guessedServices.length > 0) {
      this.findings.notes.push(
        `the recording does not show which endpoint answered for ${guessedServices.join(", ")}; the first of each was taken`,
      );
    }
    await session.report(issues);
    if (hasErrors(issues)) session.end(EXIT.invalid);
  }
}

async function saveCrew(crew: Crew, checkpoint: CheckpointFile, now: () => number): Promise<void> {
  const states = await crew.save();
  if (states !== undefined) await checkpoint.save({ states }, now());
}

function flowFilter({ filter, loaded: { sides, book, story } }: RunOptions): FlowFilter | undefined {
  const models = [...sides, ...(story?.story.steps ?? [])].map(({ cluster }) => cluster.model);
  const made = filterOf(filter, models, book);
  if (made !== undefined && "refusal" in made) throw new UsageError(made.refusal.join("\n"));
  return made;
}

/** Pods and nodes by address, for who shows names in the place of addresses; not those that change hands. */
function namesOf(models: readonly ClusterModel[]): readonly (readonly [IpAddress, string])[] {
  const names = new Map<string, { readonly address: IpAddress; readonly names: Set<string> }>();
  const add = (address: IpAddress, name: string): void => {
    const text = formatAddress(address);
    const known = names.get(text) ?? { address, names: new Set() };
    names.set(text, known);
    known.names.add(name);
  };
  for (const { nodes, endpoints } of models) {
    for (const { name, addresses } of nodes) for (const address of addresses) add(address, `node:${name}`);
    for (const { key, addresses } of endpoints.filter(isOnPodNetwork)) for (const each of addresses) add(each, key);
  }
  return [...names.values()].flatMap(({ address, names: own }) => {
    const [name, ...others] = own;
    return name === undefined || others.length > 0 ? [] : [[address, name] as const];
  });
}

/** What the numbers do not say by themselves. */
function notesOf(report: ReplayReport): readonly string[] {
  const { tally, story, steps } = report.options;
  const notes: string[] = [];
  const late = (story?.story.steps.length ?? 0) - steps.taken;
  if (story !== undefined && late > 0) {
    const last = story.clock.timeOf(story.story.steps.length);
    notes.push(
      `${late === 1 ? "1 step" : `${late} steps`} of the story ${late === 1 ? "comes" : "come"} after the last packet, the last one at ${timeText(last)}`,
    );
  }
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
  return notes;
}
