/** `trace --packets`: packets in order through one stateful fabric per strategy. */
import { resolvePolicies } from "../compiler/compile.ts";
import type { Issue } from "../compiler/issue.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Packet } from "../dataplane/packet.ts";
import { becauseOf } from "../format/answer.ts";
import { resultObject } from "../format/result.ts";
import { packetToObject } from "../traffic/packetObject.ts";
import { isProblem, packetOf, parsePacketLine, type Resolve, type TextProblem } from "../traffic/transcript.ts";
import type { Answer, Lane } from "../verify/lane.ts";
import { resolverOf } from "../verify/who.ts";
import { asksForImport, importedLanes } from "./imported.ts";
import { type LoadedInput, loadInput } from "./input.ts";
import { EXIT, InvalidInput, lineBlocks, MAX_LINE, UsageError } from "./io.ts";
import { lanesOf } from "./lanes.ts";
import { momentOf } from "./moment.ts";
import { firstStrategy, openShown, shownSaves } from "./open.ts";
import { PacketTable } from "./packetTable.ts";
import type { Session } from "./session.ts";
import type { ManyFormat, TraceFlags } from "./trace.ts";

export type ManyFlags = TraceFlags & { readonly packets: string };

/** What packets are pushed down, and where the answers go. */
export interface PacketRun {
  readonly flags: ManyFlags;
  readonly session: Session;
  readonly input: LoadedInput;
  readonly cluster: ResolvedCluster;
  readonly lanes: readonly Lane[];
  readonly sink: AnswerSink;
}

export async function tracePackets(flags: ManyFlags, format: ManyFormat, session: Session): Promise<void> {
  if (flags.packets === "-" && flags.filename.includes("-")) {
    throw new UsageError("-f - and --packets - cannot both be standard input");
  }
  const walk = flags.walk === true;
  const { at } = flags;
  if (at !== undefined && isScenario(flags.packets)) throw new UsageError("--at takes packets as JSON lines");
  const moment = at === undefined ? undefined : await momentOf({ ...flags, at }, { walk }, session);
  const input =
    moment === undefined ? await loadInput(session, flags.filename) : { model: moment.cluster.model, objects: [] };
  const cluster = moment?.cluster ?? resolvePolicies(input.model);
  const lanes =
    moment?.lanes ??
    (asksForImport(flags) ? await importedLanes(flags, cluster, session) : lanesOf(flags, cluster, { walk }));
  const sink = new AnswerSink(format, lanes, session);
  const run: PacketRun = { flags, session, input, cluster, lanes, sink };
  try {
    if (isScenario(flags.packets)) {
      const { traceScenario } = await import("./traceScenario.ts");
      await traceScenario(run);
    } else {
      await traceLines(run);
    }
  } finally {
    // Also before an error: the results of what came before it are valid.
    await sink.end();
  }
  await open(run);
}

/** Of the two things that `--packets` reads. */
export function isScenario(path: string): boolean {
  return /\.ya?ml$/.test(path);
}

/** A conversation in the page is buttons in a row and stands in an address, both of which have an end. */
const MOST_SHOWN = 200;

async function open({ flags, session, cluster, sink }: PacketRun): Promise<void> {
  const { packets } = flags;
  const common = { view: "walk", strategy: firstStrategy(flags) } as const;
  if (isScenario(packets)) {
    await openShown(flags, { state: common, scenario: packets }, session);
    return;
  }
  const { first, count } = sink;
  if (flags.open === true && count > first.length)
    await session.note(`the page shows the first ${first.length} of the ${count} packets`);
  const state = { ...common, packets: first.map((packet) => packetToObject(packet)) };
  await openShown(flags, { state: { ...state, ...(await shownSaves(flags, cluster, session)) } }, session);
}

async function traceLines(run: PacketRun): Promise<void> {
  const { flags, session } = run;
  const progress = session.progress("packets");
  const reader = new PacketReader(flags.packets, resolverOf(run.cluster.model, flags.namespace ?? "default"));
  try {
    for await (const lines of lineBlocks(await openPackets(session, flags.packets))) {
      for (const line of lines) {
        const read = reader.read(line);
        if (read === undefined) continue;
        if (isProblem(read)) {
          await session.out.flush();
          await session.report([reader.issue(read.problem)]);
          throw new InvalidInput();
        }
        await answer(run, read);
        if (!(await progress.step())) return;
      }
      await session.out.flush();
    }
  } catch (error) {
    // Ctrl-C takes standard input away in the middle of waiting for it; what is done is flushed.
    if (!session.io.interrupted.aborted) throw error;
  } finally {
    await progress.done();
  }
}

async function answer({ flags, lanes, cluster, sink }: PacketRun, { index, id, packet }: ReadPacket): Promise<void> {
  for (const lane of lanes) {
    if (flags.fresh === true) lane.flush();
    await sink.packet({ index, id, lane, packet, answer: lane.push(packet), cluster, failures: [] });
  }
}

async function openPackets({ io }: Session, path: string): Promise<AsyncIterable<Uint8Array | string>> {
  if (path === "-") return io.stdin;
  const kind = await io.kindOf(path);
  if (kind === "file") return io.readStream(path);
  throw new UsageError(kind === "folder" ? `${path} is a folder, --packets takes a file` : `${path}: no such file`);
}

interface ReadPacket {
  /** From 0. */
  readonly index: number;
  readonly id: string | number | undefined;
  readonly packet: Packet;
}

/** Lines to packets: counts lines and packets, and keeps the time, which a line without one takes from the line before. */
class PacketReader {
  readonly #file: string;
  readonly #resolve: Resolve;
  #line = 0;
  #index = 0;
  #time = 0;

  constructor(file: string, resolve: Resolve) {
    this.#file = file;
    this.#resolve = resolve;
  }

  /** Undefined: the line is blank. */
  read(line: string): ReadPacket | TextProblem | undefined {
    this.#line++;
    if (line.length > MAX_LINE) return { problem: `a line has more than ${MAX_LINE} characters` };
    if (line.trim() === "") return undefined;
    const text = parsePacketLine(line);
    if (isProblem(text)) return text;
    const time = text.details.time ?? this.#time;
    if (time < this.#time) return { problem: `time never decreases: found ${time} after ${this.#time}` };
    const packet = packetOf({ ...text, details: { ...text.details, time } }, this.#resolve);
    if (isProblem(packet)) return packet;
    this.#time = time;
    return { index: this.#index++, id: text.id, packet };
  }

  /** At the line read last. */
  issue(message: string): Issue {
    return { code: "packet", severity: "error", message, file: this.#file, line: this.#line, column: 1, path: "" };
  }
}

export interface AnsweredPacket {
  readonly index: number;
  readonly id: string | number | undefined;
  readonly lane: Lane;
  readonly packet: Packet;
  readonly answer: Answer;
  readonly cluster: ResolvedCluster;
  /** Expectations that were not met. */
  readonly failures: readonly string[];
}

/** Writes answers as they come, as lines of JSON or rows of a table. */
export class AnswerSink {
  readonly #session: Session;
  readonly #table: PacketTable | undefined;
  /** The first packets, in order. */
  readonly first: Packet[] = [];
  /** Of all packets. */
  count = 0;

  constructor(format: ManyFormat, lanes: readonly Lane[], session: Session) {
    this.#session = session;
    this.#table = format === "table" ? new PacketTable(lanes.length, session) : undefined;
  }

  async packet(answered: AnsweredPacket): Promise<void> {
    const { index, id, lane, packet, answer, cluster, failures } = answered;
    if (index === this.count) {
      this.count++;
      if (index < MOST_SHOWN) this.first.push(packet);
    }
    if (answer.verdict === "unknown") this.#session.end(EXIT.incomplete);
    if (failures.length > 0) this.#session.end(EXIT.findings);
    if (this.#table === undefined) {
      await this.#session.out.line(JSON.stringify(resultObject({ index, id, strategy: lane.name }, answer)));
      for (const failure of failures) await this.#session.error(`packet ${index}, ${lane.name}: ${failure}`);
      return;
    }
    const because = becauseOf({ lane, packet, answer, cluster, steps: [] });
    await this.#table.packet({ number: index + 1, strategy: lane.name, packet, answer, because, failures, cluster });
  }

  /** The cluster changed between packets. */
  async change(time: number, what: string): Promise<void> {
    await this.#table?.change(time, what);
  }

  async end(): Promise<void> {
    await this.#table?.end();
  }
}
