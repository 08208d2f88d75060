/** The course of a replay: manifests to sides, traffic through them, the report. */
import { hasErrors, type Issue } from "../compiler/issue.ts";
import { Duplicates } from "../replay/duplicates.ts";
import { Replay } from "../replay/replay.ts";
import { isWanted, ReplayReport } from "../replay/report.ts";
import { type LoadedSetup, loadSetup, servicesOf } from "../replay/setup.ts";
import { BATCH_ROWS, type TrafficIssue } from "../traffic/source.ts";
import { resolverOf } from "../verify/who.ts";
import type { Comparison } from "./format/replay/flowObject.ts";
import { EXIT, InvalidInput, UsageError } from "./io.ts";
import { type ReplayFormat, ReplayOutput } from "./replayOutput.ts";
import { comparisonOf, readSetup, type SetupFlags } from "./replaySetup.ts";
import { openTrafficFile } from "./replayTraffic.ts";
import type { Session } from "./session.ts";

export interface ReplayFlags extends SetupFlags {
  readonly output: ReplayFormat;
  readonly top: number;
}

/** What is said of the traffic beside its flows. */
export interface TrafficFindings {
  /** Records that were not replayed, by reason. */
  readonly skipped: Map<string, number>;
  readonly notes: string[];
}

export async function runReplay(traffic: readonly string[], flags: ReplayFlags, session: Session): Promise<void> {
  if ([...traffic, ...flags.filename].filter((name) => name === "-").length > 1) {
    throw new UsageError("standard input (-) can be named once, for manifests or for traffic");
  }
  const comparison = comparisonOf(flags);
  const loaded = await load(flags, session);
  const output = new ReplayOutput({ format: flags.output, comparison, top: flags.top, session });
  const run = new ReplayRun({ flags, session, loaded, output, main: comparison === "change" ? 1 : 0 });
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

interface RunOptions {
  readonly flags: ReplayFlags;
  readonly session: Session;
  readonly loaded: LoadedSetup;
  readonly output: ReplayOutput;
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
    const { loaded, output, main } = options;
    this.#services = servicesOf(loaded);
    this.#replay = new Replay(
      {
        sides: loaded.sides,
        main,
        book: loaded.book,
        ...(this.#services !== undefined && { services: this.#services }),
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
    const { session } = this.#options;
    const { interrupted } = session.io;
    const progress = session.progress("packets");
    try {
      for (const name of names) {
        await this.#readFile(name, (count) => progress.step(count));
        if (interrupted.aborted) break;
      }
    } catch (error) {
      // Ctrl-C takes standard input away in the middle of waiting for it; what is done is reported.
      if (!interrupted.aborted) throw error;
    } finally {
      await progress.done();
    }
    if (!interrupted.aborted) return;
    this.#findings.notes.push(`interrupted after ${this.#replay.index} packets; the report is about those`);
  }

  async #readFile(name: string, proceed: (count: number) => Promise<boolean>): Promise<void> {
    const { session, flags, loaded, main, output } = this.#options;
    const model = loaded.sides[main]?.cluster.model;
    if (model === undefined) throw new RangeError(`side ${main} of ${loaded.sides.length}`);
    const { source } = await openTrafficFile(session.io, name, {
      resolve: resolverOf(model, flags.namespace ?? "default"),
    });
    const duplicates = new Duplicates(source.interfaces);
    this.#replay.recognise(duplicates);
    for await (const batch of source.batches()) {
      this.#replay.consume(batch);
      await output.flush();
      if (!(await proceed(batch.packets.length))) break;
    }
    const { skipped, notes } = this.#findings;
    for (const [reason, count] of source.skipped) skipped.set(reason, (skipped.get(reason) ?? 0) + count);
    if (duplicates.count > 0) {
      skipped.set(COPY, (skipped.get(COPY) ?? 0) + duplicates.count);
      notes.push(`${name}: ${duplicates.count} packets were recorded on more than one interface and are counted once`);
    }
    notes.push(...source.notes.map((note) => `${name}: ${note}`));
    const issues = source.issues.map((issue) => issueOf(name, issue));
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
    for (const note of this.#findings.notes) await session.note(note);
    if (tally.packetVerdicts[3] > 0) session.end(EXIT.incomplete);
    const findings = comparison === "change" ? tally.nowRefused : tally.changed;
    if (findings > 0) session.end(EXIT.findings);
  }
}

/** The reason under which copies of a packet are counted among what was skipped. */
const COPY = "copy of a packet recorded on another interface";

function issueOf(file: string, { severity, offset, line, message }: TrafficIssue): Issue {
  const place = offset === undefined ? "" : `byte ${offset}: `;
  return {
    code: "traffic",
    severity,
    message: `${place}${message}`,
    file,
    line: line ?? 0,
    column: line === undefined ? 0 : 1,
    path: "",
  };
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
