/** A log as traffic: lines to records, records to the packets they imply, packets in order of time. */
import { type IpAddress, parseAddress } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { ByteWindow } from "../byteWindow.ts";
import { packetLength } from "../encodePacket.ts";
import { counted, Findings } from "../findings.ts";
import { clearBatch } from "../packetRow.ts";
import {
  BATCH_ROWS,
  CAPTURED,
  type CaptureInterface,
  createTrafficBatch,
  RECORDED,
  type TrafficBatch,
  type TrafficFormat,
  type TrafficOptions,
  type TrafficSource,
} from "../source.ts";
import { isProblem, type Resolve } from "../transcript.ts";
import type { FlowRecord, LoggedEnd } from "./flowRecord.ts";
import { type ImpliedPacket, ImpliedPackets, type ResolvedRecord } from "./impliedPackets.ts";
import { LineReader, MAX_LINE_BYTES } from "./lineReader.ts";
import type { LogReader, LogSink } from "./logReader.ts";
import { WaitingRows } from "./waitingRows.ts";

/**
 * Packets held back to put them in order. A log with more overlapping flows than that is in order only nearly, and says so.
 */
const MAX_WAITING = 16_384;

/** Rows of one record beside those that wait; a few more only make room for themselves. */
const MAX_ROWS_OF_RECORD = 64;

/** Texts of addresses kept with what they parse to. */
const MAX_ADDRESSES = 16_384;

/** As many as the `interfaceId` column can tell apart. */
const MAX_INTERFACES = 65_536;

const NO_BYTES = new Uint8Array(0);

export class LogSource implements TrafficSource, LogSink {
  readonly format: TrafficFormat;
  readonly isImplied: boolean;
  readonly interfaces: CaptureInterface[] = [];
  readonly #findings = new Findings();
  readonly notes = this.#findings.notes;
  readonly issues = this.#findings.issues;
  readonly skipped = this.#findings.skipped;
  readonly names = this.#findings.names;
  readonly #window: ByteWindow;
  readonly #reader: LogReader;
  readonly #resolve: Resolve | undefined;
  readonly #batch: TrafficBatch;
  readonly #implied = new ImpliedPackets();
  readonly #waiting: WaitingRows;
  readonly #interfaceIds = new Map<string, number>();
  readonly #addresses = new Map<string, IpAddress>();
  readonly #mostWaiting: number;
  lineNumber = 0;
  #lastTime = 0;
  #backward = 0;

  constructor(window: ByteWindow, reader: LogReader, options: TrafficOptions) {
    this.format = reader.format;
    this.isImplied = reader.format !== "packets";
    // Packets have their order already.
    this.#mostWaiting = this.isImplied ? MAX_WAITING : 0;
    this.#waiting = new WaitingRows(this.#mostWaiting + MAX_ROWS_OF_RECORD);
    this.#window = window;
    this.#reader = reader;
    this.#resolve = options.resolve;
    this.#batch = options.batch ?? createTrafficBatch(options.batchRows ?? BATCH_ROWS);
    clearFrames(this.#batch);
  }

  async *batches(): AsyncGenerator<TrafficBatch> {
    const lines = new LineReader(this.#window);
    const { packets } = this.#batch;
    this.#begin();
    try {
      for (let goesOn = true; goesOn; ) {
        const line = lines.next();
        if (line === undefined) {
          // Who pipes lines in gets their answers before the next ones are waited for.
          if (packets.length > 0) yield this.#batch;
          this.#begin();
          goesOn = await lines.fill();
          continue;
        }
        this.lineNumber++;
        if (line.trim() !== "") goesOn = this.#read(line);
        while (this.#waiting.length > this.#mostWaiting) {
          if (!this.#append()) continue;
          yield this.#batch;
          this.#begin();
        }
      }
      if (lines.isTooLong) {
        this.#findings.fail({ line: this.lineNumber + 1 }, `a line has more than ${MAX_LINE_BYTES} bytes`);
      }
      this.#reader.finish?.(this);
      for (const implied of this.#implied.finish()) this.#wait(implied);
      while (this.#waiting.length > 0) {
        if (!this.#append()) continue;
        yield this.#batch;
        this.#begin();
      }
      if (packets.length > 0) yield this.#batch;
    } finally {
      this.#note();
      await this.#window.close();
    }
  }

  #begin(): void {
    clearBatch(this.#batch.packets);
  }

  /** Reads a line; false: nothing after it is read. */
  #read(line: string): boolean {
    const problem = this.#reader.line(line, this);
    if (problem === undefined) return true;
    if (this.isImplied) {
      // One bad line of a log takes nothing from the others.
      this.#findings.warn({ line: this.lineNumber }, problem.problem);
      this.skip("unreadable line");
      return true;
    }
    this.#findings.fail({ line: this.lineNumber }, problem.problem);
    return false;
  }

  /** The next packet in time becomes a row; true: the batch is full. */
  #append(): boolean {
    const batch = this.#batch;
    if (this.interfaces.length === 0) this.interfaceOf(undefined, undefined);
    const time = this.#waiting.popInto(batch, this.#lastTime);
    if (time < this.#lastTime) this.#backward++;
    else this.#lastTime = time;
    return batch.packets.length === batch.packets.capacity;
  }

  #note(): void {
    this.notes.push(...this.#reader.limits());
    const { guessedRoles, underway } = this.#implied;
    if (guessedRoles > 0) {
      this.notes.push(
        `who opened a connection is told by the ports in ${counted(guessedRoles, "record")}: the end with the port below 32768 is the server`,
      );
    }
    if (underway > 0) {
      this.notes.push(`a handshake is implied for ${counted(underway, "connection")} that began before the log did`);
    }
    if (this.#backward > 0) {
      this.notes.push(
        `${counted(this.#backward, "packet")} out of order by more than ${MAX_WAITING} packets: taken as simultaneous with those before`,
      );
    }
  }

  flow(record: FlowRecord): void {
    const source = this.#address(record.source, record.destination, record.start);
    if (source === undefined) return;
    const destination = this.#address(record.destination, source, record.start);
    if (destination === undefined) return;
    if (source.family !== destination.family) {
      this.skip("ends of different address families");
      return;
    }
    const isWhole = record.source === source && record.destination === destination && record.end >= record.start;
    const whole = isWhole
      ? (record as ResolvedRecord)
      : { ...record, end: Math.max(record.start, record.end), source, destination };
    for (const implied of this.#implied.of(whole)) this.#wait(implied);
  }

  packet(packet: Packet): void {
    const { protocol, source, destination, sourcePort, destinationPort, time } = packet;
    const record: FlowRecord = {
      protocol,
      source,
      destination,
      sourcePort,
      destinationPort,
      line: this.lineNumber,
      start: time,
      end: time,
      role: "unknown",
      sent: undefined,
      received: undefined,
      recorded: RECORDED.unknown,
      opening: "underway",
      closing: "open",
    };
    this.#wait({ packet, record, bytes: packetLength(packet) });
  }

  #wait(implied: ImpliedPacket): void {
    this.#waiting.push(implied);
  }

  skip(reason: string): void {
    this.#findings.skip(reason);
  }

  name(address: string, name: string): void {
    this.#findings.name(address, name);
  }

  interfaceOf(name: string | undefined, node: string | undefined): number {
    const key = `${name ?? ""}\n${node ?? ""}`;
    const known = this.#interfaceIds.get(key);
    if (known !== undefined) return known;
    if (this.interfaces.length >= MAX_INTERFACES) return MAX_INTERFACES - 1;
    this.interfaces.push({ name, description: undefined, linkType: undefined, snapBytes: 0, node });
    this.#interfaceIds.set(key, this.interfaces.length - 1);
    return this.interfaces.length - 1;
  }

  /** The address of an end; of the other end's family where it has several. Undefined: counted as skipped. */
  #address(end: LoggedEnd, other: LoggedEnd, time: number): IpAddress | undefined {
    if (typeof end !== "string") return end;
    const resolved = this.#resolve?.(end, typeof other === "string" ? undefined : other.family, time);
    if (resolved !== undefined && !isProblem(resolved)) return resolved;
    this.skip(`no address known for ${end}`);
    return undefined;
  }

  addressOf(text: string): IpAddress | undefined {
    const known = this.#addresses.get(text);
    if (known !== undefined) return known;
    const parsed = parseAddress(text);
    if (parsed !== undefined && this.#addresses.size < MAX_ADDRESSES) this.#addresses.set(text, parsed);
    return parsed;
  }

  get resolve(): Resolve | undefined {
    return this.#resolve;
  }
}

/** Logs have no frames; a batch that was used before may. */
function clearFrames(batch: TrafficBatch): void {
  batch.bytes = NO_BYTES;
  batch.frameStart.fill(0);
  batch.capturedBytes.fill(0);
  batch.direction.fill(CAPTURED.unknown);
  batch.device.fill(0);
  batch.comments.clear();
}
