/** `trace --packets`: packets in order through one stateful fabric per strategy. */
import { resolvePolicies } from "../compiler/compile.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Packet } from "../dataplane/packet.ts";
import { isProblem, type PacketText, packetOf, parsePacketLine, type Resolve } from "../traffic/transcript.ts";
import { explain } from "../verify/explain.ts";
import type { Answer, Lane } from "../verify/lane.ts";
import { resolverOf } from "../verify/who.ts";
import { PacketTable } from "./format/packetTable.ts";
import { resultObject } from "./format/result.ts";
import { asksForImport, importedLanes } from "./imported.ts";
import { type LoadedInput, loadInput } from "./input.ts";
import { EXIT, InvalidInput, linesOf, UsageError } from "./io.ts";
import { lanesOf } from "./lanes.ts";
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
  const input = await loadInput(session, flags.filename);
  const cluster = resolvePolicies(input.model);
  const lanes = asksForImport(flags)
    ? await importedLanes(flags, cluster, session)
    : lanesOf(flags, cluster, { walk: flags.walk === true });
  const sink = new AnswerSink(format, lanes, session);
  const run: PacketRun = { flags, session, input, cluster, lanes, sink };
  try {
    if (/\.ya?ml$/.test(flags.packets)) {
      const { traceScenario } = await import("./traceScenario.ts");
      await traceScenario(run);
    } else {
      await traceLines(run);
    }
  } finally {
    // Also before an error: the results of what came before it are valid.
    await sink.end();
  }
}

async function traceLines({ flags, session, cluster, lanes, sink }: PacketRun): Promise<void> {
  const resolve = resolverOf(cluster.model, flags.namespace ?? "default");
  const progress = session.progress("packets");
  const file = flags.packets;
  const clock = { now: 0 };
  let lineNumber = 0;
  let index = 0;
  try {
    for await (const line of linesOf(await openPackets(session, file))) {
      lineNumber++;
      if (line.trim() === "") continue;
      const read = readLine(line, resolve, clock);
      if (isProblem(read)) {
        await session.out.flush();
        await session.report([
          { code: "packet", severity: "error", message: read.problem, file, line: lineNumber, column: 1, path: "" },
        ]);
        throw new InvalidInput();
      }
      for (const lane of lanes) {
        if (flags.fresh === true) lane.flush();
        const answer = lane.push(read.packet);
        await sink.packet({ index, id: read.text.id, lane, packet: read.packet, answer, cluster, failures: [] });
      }
      index++;
      if (!(await progress.step())) break;
    }
  } catch (error) {
    // Ctrl-C takes standard input away in the middle of waiting for it; what is done is flushed.
    if (!session.io.interrupted.aborted) throw error;
  } finally {
    await progress.done();
  }
}

async function openPackets({ io }: Session, path: string): Promise<AsyncIterable<Uint8Array | string>> {
  if (path === "-") return io.stdin;
  const kind = await io.kindOf(path);
  if (kind === "file") return io.readStream(path);
  throw new UsageError(kind === "folder" ? `${path} is a folder, --packets takes a file` : `${path}: no such file`);
}

interface ReadPacket {
  readonly text: PacketText;
  readonly packet: Packet;
}

/** A line without a time happens at the time of the line before. */
function readLine(line: string, resolve: Resolve, clock: { now: number }): ReadPacket | { readonly problem: string } {
  const text = parsePacketLine(line);
  if (isProblem(text)) return text;
  const time = text.details.time ?? clock.now;
  if (time < clock.now) return { problem: `time never decreases: found ${time} after ${clock.now}` };
  clock.now = time;
  const timed = { ...text, details: { ...text.details, time } };
  const packet = packetOf(timed, resolve);
  return isProblem(packet) ? packet : { text: timed, packet };
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

  constructor(format: ManyFormat, lanes: readonly Lane[], session: Session) {
    this.#session = session;
    this.#table = format === "table" ? new PacketTable(lanes.length, session) : undefined;
  }

  async packet(answered: AnsweredPacket): Promise<void> {
    const { index, id, lane, packet, answer, cluster, failures } = answered;
    if (answer.verdict === "unknown") this.#session.end(EXIT.incomplete);
    if (failures.length > 0) this.#session.end(EXIT.findings);
    if (this.#table === undefined) {
      await this.#session.out.line(JSON.stringify(resultObject({ index, id, strategy: lane.name }, answer)));
      for (const failure of failures) await this.#session.error(`packet ${index}, ${lane.name}: ${failure}`);
      return;
    }
    const because = explain({ cluster, packet, answer, strategy: lane.strategy });
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
