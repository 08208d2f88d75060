/** pcapng files: any number of sections and interfaces, each with its own byte order and clock. */
import { formatAddress } from "../dataplane/address.ts";
import type { ByteWindow } from "./byteWindow.ts";
import { CaptureClock, DEFAULT_RESOLUTION } from "./captureClock.ts";
import { CaptureRows, MAX_FRAME_BYTES } from "./captureRows.ts";
import { counted, Findings } from "./findings.ts";
import {
  BLOCK,
  BYTE_ORDER_MAGIC,
  INTERFACE_OPTION,
  NAME_RECORD,
  OPTION,
  optionsIn,
  PACKET_OPTION,
  padded,
  STATISTICS_OPTION,
} from "./pcapngBlocks.ts";
import type { CaptureInterface, TrafficBatch, TrafficOptions, TrafficSource } from "./source.ts";

/** Largest block that is taken into memory: a frame and options, or names. Others are passed over as they stream by. */
const MAX_BLOCK_BYTES = 1 << 20;

/** As many as the `interfaceId` column can tell apart. */
const MAX_INTERFACES = 65_536;

/** Keeps no state between whole texts. */
const DECODER = new TextDecoder();

const KNOWN_BLOCKS: ReadonlySet<number> = new Set(Object.values(BLOCK));

/** Whether a file that starts with these four bytes is a pcapng; the type of its first block reads alike in both orders. */
export function isPcapngMagic(magic: number): boolean {
  return magic === BLOCK.section;
}

/** The window stands at the start of the input. */
export function readPcapng(window: ByteWindow, options: TrafficOptions): TrafficSource {
  return new PcapngSource(window, options);
}

/** Why the reading of blocks stops at the start of the window. */
type Stop =
  | { readonly kind: "full" }
  /** The next block needs so many bytes in the window. */
  | { readonly kind: "need"; readonly bytes: number }
  /** The next block is of no interest and may be of any length. */
  | { readonly kind: "pass"; readonly bytes: number }
  | { readonly kind: "damage"; readonly message: string };

const FULL: Stop = { kind: "full" };

function damage(message: string): Stop {
  return { kind: "damage", message };
}

class PcapngSource implements TrafficSource {
  readonly format = "pcapng";
  readonly isImplied = false;
  readonly interfaces: CaptureInterface[] = [];
  readonly #findings = new Findings();
  readonly notes = this.#findings.notes;
  readonly issues = this.#findings.issues;
  readonly skipped = this.#findings.skipped;
  readonly names = this.#findings.names;
  readonly #window: ByteWindow;
  readonly #rows: CaptureRows;
  readonly #clocks: CaptureClock[] = [];
  #isLittleEndian = true;
  #hasSection = false;
  /** Index of the section's first interface. */
  #sectionStart = 0;
  #untimed = 0;

  constructor(window: ByteWindow, options: TrafficOptions) {
    this.#window = window;
    this.#rows = new CaptureRows(this.#findings, options);
  }

  async *batches(): AsyncGenerator<TrafficBatch> {
    const window = this.#window;
    const { batch } = this.#rows;
    try {
      for (;;) {
        this.#rows.begin(window);
        const stop = this.#readBlocks();
        if (batch.packets.length > 0) yield batch;
        if (stop.kind === "full") continue;
        if (stop.kind === "damage") {
          this.#findings.fail({ offset: window.offset }, stop.message);
          break;
        }
        const { offset } = window;
        if (stop.kind === "pass" ? await window.skip(stop.bytes) : await window.fill(stop.bytes)) continue;
        if (stop.kind === "pass" || window.available > 0) {
          this.#findings.warn({ offset }, `the file ends inside a block of ${stop.bytes} bytes, which is left out`);
        }
        break;
      }
    } finally {
      this.#finish();
      await window.close();
    }
  }

  #finish(): void {
    this.#rows.finish();
    if (this.#untimed > 0) {
      this.#findings.notes.push(
        `${counted(this.#untimed, "simple packet block")} without a time: taken as simultaneous with the packet before`,
      );
    }
  }

  /** Takes blocks from the window until it or the batch is used up. */
  #readBlocks(): Stop {
    while (!this.#rows.isFull) {
      const stop = this.#readBlock();
      if (stop !== undefined) return stop;
    }
    return FULL;
  }

  /** Takes the block at the start of the window, or says why it cannot. */
  #readBlock(): Stop | undefined {
    const window = this.#window;
    const { view, end, start: at } = window;
    if (at + 12 > end) return { kind: "need", bytes: 12 };
    const type = view.getUint32(at, this.#isLittleEndian);
    const disorder = type === BLOCK.section ? this.#byteOrder(at) : undefined;
    if (disorder !== undefined) return damage(disorder);
    if (!this.#hasSection) return damage("a pcapng starts with a section header block");
    const length = view.getUint32(at + 4, this.#isLittleEndian);
    if (length < 12 || length % 4 !== 0) {
      return damage(`a block says it is ${length} bytes long; lengths are multiples of 4, from 12`);
    }
    if (!KNOWN_BLOCKS.has(type)) return { kind: "pass", bytes: length };
    if (length > MAX_BLOCK_BYTES) {
      return damage(`a block of type ${type} says it is ${length} bytes long; at most ${MAX_BLOCK_BYTES} are read`);
    }
    if (at + length > end) return { kind: "need", bytes: length };
    const trailer = view.getUint32(at + length - 4, this.#isLittleEndian);
    if (trailer !== length) {
      return damage(`a block of type ${type} is ${length} bytes long by its start and ${trailer} by its end`);
    }
    const problem = this.#block(type, at, at + length - 4);
    if (problem !== undefined) return damage(problem);
    window.start = at + length;
    return undefined;
  }

  /** Takes over the byte order of the section at `at`; answers what is wrong with it. */
  #byteOrder(at: number): string | undefined {
    const { view } = this.#window;
    const magic = view.getUint32(at + 8);
    const isLittleEndian = view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC;
    if (magic !== BYTE_ORDER_MAGIC && !isLittleEndian) {
      return `the byte-order magic of a section is 1a2b3c4d in either order, found ${magic.toString(16)}`;
    }
    this.#isLittleEndian = isLittleEndian;
    this.#hasSection = true;
    return undefined;
  }

  /** One whole block; its body ends at `end`. Answers what is wrong with it. */
  #block(type: number, at: number, end: number): string | undefined {
    switch (type) {
      case BLOCK.enhancedPacket:
        return this.#enhancedPacket(at, end);
      case BLOCK.packet:
        return this.#packet(at, end);
      case BLOCK.simplePacket:
        return this.#simplePacket(at, end);
      case BLOCK.section:
        return this.#section(at, end);
      case BLOCK.interface:
        return this.#interface(at, end);
      case BLOCK.nameResolution:
        this.#nameResolution(at + 8, end);
        return undefined;
      default:
        this.#statistics(at, end);
        return undefined;
    }
  }

  #section(at: number, end: number): string | undefined {
    if (at + 24 > end) return "a section header block has at least 28 bytes";
    const major = this.#window.view.getUint16(at + 12, this.#isLittleEndian);
    if (major !== 1) return `pcapng version 1 is read, found version ${major}`;
    this.#sectionStart = this.interfaces.length;
    return undefined;
  }

  #interface(at: number, end: number): string | undefined {
    if (at + 16 > end) return "an interface description block has at least 20 bytes";
    if (this.interfaces.length >= MAX_INTERFACES) return `more than ${MAX_INTERFACES} interfaces`;
    const { view } = this.#window;
    const isLittleEndian = this.#isLittleEndian;
    let name: string | undefined;
    let description: string | undefined;
    let resolution = DEFAULT_RESOLUTION;
    let offsetSeconds = 0;
    for (const { code, start, length } of optionsIn(view, { start: at + 16, end, isLittleEndian })) {
      if (code === INTERFACE_OPTION.name) name = this.#text(start, length);
      else if (code === INTERFACE_OPTION.description) description = this.#text(start, length);
      else if (code === INTERFACE_OPTION.resolution && length >= 1) resolution = view.getUint8(start);
      else if (code === INTERFACE_OPTION.offset && length >= 8) {
        offsetSeconds = Number(view.getBigInt64(start, isLittleEndian));
      }
    }
    this.interfaces.push({
      name,
      description,
      linkType: view.getUint16(at + 8, isLittleEndian),
      snapBytes: view.getUint32(at + 12, isLittleEndian),
      node: undefined,
    });
    this.#clocks.push(new CaptureClock(resolution, offsetSeconds));
    return undefined;
  }

  #enhancedPacket(at: number, end: number): string | undefined {
    if (at + 28 > end) return "an enhanced packet block has at least 32 bytes";
    const { view } = this.#window;
    const isLittleEndian = this.#isLittleEndian;
    const problem = this.#stamp(view.getUint32(at + 8, isLittleEndian), at);
    if (problem !== undefined) return problem;
    return this.#frame({ start: at + 28, lengths: at + 20, end });
  }

  #packet(at: number, end: number): string | undefined {
    if (at + 28 > end) return "a packet block has at least 32 bytes";
    const problem = this.#stamp(this.#window.view.getUint16(at + 8, this.#isLittleEndian), at);
    if (problem !== undefined) return problem;
    return this.#frame({ start: at + 28, lengths: at + 20, end });
  }

  /** Notes the interface of the packet block at `at` and its time, which stands at the same place in both kinds. */
  #stamp(interfaceId: number, at: number): string | undefined {
    const { view } = this.#window;
    const rows = this.#rows;
    const index = this.#sectionStart + interfaceId;
    const clock = this.#clocks[index];
    const found = this.interfaces[index];
    if (clock === undefined || found === undefined) {
      const known = this.interfaces.length - this.#sectionStart;
      return `a packet of interface ${interfaceId}, in a section that describes ${known}`;
    }
    clock.read(view.getUint32(at + 12, this.#isLittleEndian), view.getUint32(at + 16, this.#isLittleEndian));
    rows.seconds = clock.seconds;
    rows.nanoseconds = clock.nanoseconds;
    rows.interfaceId = index;
    rows.offset = this.#window.offsetOf(at);
    rows.linkType = found.linkType ?? 0;
    return undefined;
  }

  /** A frame at `start` with its two lengths at `lengths`; what follows it up to `end` are options. */
  #frame(place: { readonly start: number; readonly lengths: number; readonly end: number }): string | undefined {
    const { start, lengths, end } = place;
    const { view } = this.#window;
    const captured = view.getUint32(lengths, this.#isLittleEndian);
    const wire = view.getUint32(lengths + 4, this.#isLittleEndian);
    if (captured > MAX_FRAME_BYTES || start + captured > end) {
      return `a packet block with room for ${end - start} bytes of a frame says it holds ${captured}`;
    }
    const row = this.#rows.add(start, captured, Math.max(wire, captured));
    const options = start + padded(captured);
    if (row >= 0 && options + 4 <= end) this.#packetOptions(row, options, end);
    return undefined;
  }

  #packetOptions(row: number, start: number, end: number): void {
    const { view } = this.#window;
    const { batch } = this.#rows;
    const isLittleEndian = this.#isLittleEndian;
    for (const option of optionsIn(view, { start, end, isLittleEndian })) {
      if (option.code === OPTION.comment) {
        const earlier = batch.comments.get(row);
        const text = this.#text(option.start, option.length);
        batch.comments.set(row, earlier === undefined ? text : `${earlier}\n${text}`);
      } else if (option.code === PACKET_OPTION.flags && option.length >= 4) {
        // Two bits: 1 inbound, 2 outbound, the numbers of CAPTURED.
        batch.direction[row] = (view.getUint32(option.start, isLittleEndian) & 3) % 3;
      }
    }
  }

  #simplePacket(at: number, end: number): string | undefined {
    if (at + 12 > end) return "a simple packet block has at least 16 bytes";
    const rows = this.#rows;
    const found = this.interfaces[this.#sectionStart];
    if (found === undefined) return "a simple packet block, in a section that describes no interface";
    rows.repeatTime();
    rows.interfaceId = this.#sectionStart;
    rows.linkType = found.linkType ?? 0;
    const wire = this.#window.view.getUint32(at + 8, this.#isLittleEndian);
    const limit = found.snapBytes === 0 ? wire : Math.min(wire, found.snapBytes);
    const captured = Math.min(limit, end - at - 12);
    if (captured > MAX_FRAME_BYTES) return `a simple packet block holds ${captured} bytes of a frame`;
    this.#untimed++;
    rows.offset = this.#window.offsetOf(at);
    rows.add(at + 12, captured, wire);
    return undefined;
  }

  #nameResolution(start: number, end: number): void {
    const { view } = this.#window;
    for (let at = start; at + 4 <= end; ) {
      const kind = view.getUint16(at, this.#isLittleEndian);
      const length = view.getUint16(at + 2, this.#isLittleEndian);
      if (kind === NAME_RECORD.end || at + 4 + length > end) return;
      const value = at + 4;
      const addressBytes = kind === NAME_RECORD.ipv4 ? 4 : kind === NAME_RECORD.ipv6 ? 16 : 0;
      if (addressBytes > 0 && length > addressBytes) {
        const words = Array.from({ length: addressBytes / 4 }, (_, word) => view.getInt32(value + 4 * word));
        const address = formatAddress({ family: addressBytes === 4 ? 4 : 6, words });
        const [name = ""] = this.#text(value + addressBytes, length - addressBytes).split("\0");
        this.#findings.name(address, name);
      }
      at = value + padded(length);
    }
  }

  #statistics(at: number, end: number): void {
    const { view } = this.#window;
    const isLittleEndian = this.#isLittleEndian;
    if (at + 20 > end) return;
    const index = this.#sectionStart + view.getUint32(at + 8, isLittleEndian);
    for (const { code, start, length } of optionsIn(view, { start: at + 20, end, isLittleEndian })) {
      if (code !== STATISTICS_OPTION.dropped || length < 8) continue;
      const dropped = view.getBigUint64(start, isLittleEndian);
      const name = this.interfaces[index]?.name ?? `number ${index}`;
      if (dropped > 0n && this.notes.length < MAX_NOTES) {
        this.notes.push(`the capture says that it lost ${dropped} packets of interface ${name}`);
      }
    }
  }

  #text(start: number, length: number): string {
    return DECODER.decode(this.#window.bytes.subarray(start, start + length));
  }
}

/** Sentences about interfaces that a file can make us say. */
const MAX_NOTES = 100;
