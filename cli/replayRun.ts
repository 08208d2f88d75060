/** The course of a replay: manifests to sides, traffic through them, the report. */
import { hasErrors } from "../compiler/issue.ts";
import { type ClusterModel, isOnPodNetwork } from "../compiler/model.ts";
import type { IpAddress } from "../dataplane/address.ts";
import { Duplicates } from "../replay/duplicates.ts";
import { type FilterSetup, filterOf } from "../replay/filter/filter.ts";
import type { HubbleTerm } from "../replay/filter/hubble.ts";
import { type FlowFilter, Replay } from "../replay/replay.ts";
import { isWanted, ReplayReport } from "../replay/report.ts";
import { type LoadedSetup, loadSetup, servicesOf } from "../replay/setup.ts";
import { BATCH_ROWS } from "../traffic/source.ts";
import { resolverOf } from "../verify/who.ts";
import type { Comparison } from "./format/replay/flowObject.ts";
import { EXIT, InvalidInput, UsageError } from "./io.ts";
import { type ReplayFormat, ReplayOutput } from "./replayOutput.ts";
import { comparisonOf, readSetup, type SetupFlags } from "./replaySetup.ts";
import { Recording, type TrafficFindings } from "./replayTraffic.ts";
import type { Session } from "./session.ts";

export interface ReplayFlags extends SetupFlags {
  readonly output: ReplayFormat;
  readonly top: number;
  readonly filter?: string;
  readonly keepDuplicates?: boolean;
  readonly capturedOn?: string;
}

export interface ReplayInput {
  readonly traffic: readonly string[];
  readonly flags: ReplayFlags;
  /** Flags in Hubble's words, in the order given. */
  readonly hubble: readonly HubbleTerm[];
}

export async function runReplay({ traffic, flags, hubble }: ReplayInput, session: Session): Promise<void> {
  if ([...traffic, ...flags.filename].filter((name) => name === "-").length > 1) {
    throw new UsageError("standard input (-) can be named once, for manifests or for traffic");
  }
  if (flags.output === "pcapng" && session.io.stdout.isTerminal) {
    throw new UsageError("-o pcapng writes bytes, and standard output is a terminal: redirect it to a file");
  }
  const comparison = comparisonOf(flags);
  const loaded = await load(flags, session);
  const filter = filterFor(flags, hubble, loaded);
  const output = new ReplayOutput({ format: flags.output, comparison, top: flags.top, session });
  const run = new ReplayRun({ flags, session, loaded, output, filter, main: comparison === "change" ? 1 : 0 });
  await run.read(traffic);
  await run.finish(comparison);
}

async function load(flags: ReplayFlags, session: Session): Promise<LoadedSetup> {
  const { loaded, issues, notes } = loadSetup(await readSetup(flags, session.io), BATCH_ROWS);
  await session.report(issues);
  if (loaded === undefined || hasErrors(issues)) throw new InvalidInput();
  for (const note of new Set(notes)) await session.note(note);
  return loaded;
}

function filterFor(
  flags: ReplayFlags,
  hubble: readonly HubbleTerm[],
  { sides, book }: LoadedSetup,
): FlowFilter | undefined {
  const { filter: expression, namespace = "default" } = flags;
  const setup: FilterSetup = { ...(expression !== undefined && { expression }), hubble, namespace };
  const models = sides.map(({ cluster }) => cluster.model);
  const filter = filterOf(setup, models, book);
  if (filter !== undefined && "refusal" in filter) throw new UsageError(filter.refusal.join("\n"));
  return filter;
}

interface RunOptions {
  readonly flags: ReplayFlags;
  readonly session: Session;
  readonly loaded: LoadedSetup;
  readonly output: ReplayOutput;
  readonly filter: FlowFilter | undefined;
  readonly main: number;
}

class ReplayRun {
  readonly #options: RunOptions;
  readonly #replay: Replay;
  readonly #report: ReplayReport;
  readonly #services: ReturnType<typeof servicesOf>;
  readonly #findings: TrafficFindings = { skipped: new Map(), notes: [] };

  constructor(options: RunOptions) {
    this.#options = options;
    const { loaded, output, filter, main } = options;
    this.#services = servicesOf(loaded);
    this.#replay = new Replay(
      {
        sides: loaded.sides,
        main,
        book: loaded.book,
        ...(filter !== undefined && { filter }),
        ...(this.#services !== undefined && { services: this.#services }),
        ...(output.wantsPackets && { onPushed: (rows) => output.pushed(rows) }),
        ...(output.isStreaming && {
          onEnded: (table, slots) =>
            output.ended(
              this.#report,
              slots.filter((slot) => isWanted(table, slot)),
            ),
        }),
      },
      BATCH_ROWS,
    );
    const { table, tally, timeline } = this.#replay;
    const { sides, book } = loaded;
    this.#report = new ReplayReport({
      table,
      sides,
      causes: sides.map(({ causes }) => causes),
      main,
      book,
      tally,
      timeline,
    });
  }

  async read(names: readonly string[]): Promise<void> {
    const { session, flags, loaded, main, output } = this.#options;
    const { io } = session;
    const model = loaded.sides[main]?.cluster.model;
    if (model === undefined) throw new RangeError(`side ${main} of ${loaded.sides.length}`);
    const resolve = resolverOf(model, flags.namespace ?? "default");
    const recording = await Recording.open(io, names, { resolve, frames: output.wantsPackets ? "copied" : "left out" });
    output.begin(namesOf(model), recording.merged.interfaces);
    const duplicates = new Duplicates(recording.merged.interfaces);
    if (flags.keepDuplicates !== true) this.#replay.recognise(duplicates);
    const progress = session.progress("packets", () => recording.share());
    try {
      for await (const batch of recording.merged.batches()) {
        this.#replay.consume(batch);
        await output.flush();
        if (!(await progress.step(batch.packets.length))) break;
      }
    } catch (error) {
      // Ctrl-C takes standard input away in the middle of waiting for it; what is done is reported.
      if (!io.interrupted.aborted) throw error;
    } finally {
      await progress.done();
    }
    await this.#told(recording, duplicates);
    if (!io.interrupted.aborted) return;
    this.#findings.notes.push(`interrupted after ${this.#replay.index} packets; the report is about those`);
  }

  async #told(recording: Recording, duplicates: Duplicates): Promise<void> {
    const { session } = this.#options;
    const { skipped, notes, issues } = recording.findings();
    for (const [reason, count] of skipped) this.#findings.skipped.set(reason, count);
    this.#findings.notes.push(...notes);
    if (duplicates.count > 0) {
      this.#findings.skipped.set(COPY, duplicates.count);
      this.#findings.notes.push(
        `${duplicates.count} packets were recorded on more than one interface and are counted once; --keep-duplicates replays them all`,
      );
    }
    await session.report(issues);
    if (hasErrors(issues)) session.end(EXIT.invalid);
  }

  async finish(comparison: Comparison): Promise<void> {
    const { session, output } = this.#options;
    const { table, tally } = this.#replay;
    this.#replay.finish();
    if (!output.isStreaming) for (const slot of table.ordered()) tally.add(table, slot);
    this.#findings.notes.push(...notesOf(this.#report, this.#services?.guessed ?? []));
    await output.write(this.#report, this.#findings);
    await output.annotate(this.#report);
    for (const note of this.#findings.notes) await session.note(note);
    if (tally.packetVerdicts[3] > 0) session.end(EXIT.incomplete);
    const findings = comparison === "change" ? tally.nowRefused : tally.changed;
    if (findings > 0) session.end(EXIT.findings);
  }
}

/** The reason under which copies of a packet are counted among what was skipped. */
const COPY = "copy of a packet recorded on another interface";

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
