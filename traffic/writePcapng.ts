/** Writes pcapng: one section, little-endian, nanoseconds. Blocks may be made elsewhere, in another thread, and appended. */
import type { IpAddress } from "../dataplane/address.ts";
import { ByteSink } from "./byteSink.ts";
import type { CaptureWriter, Frame } from "./captureWriter.ts";
import { BLOCK, BYTE_ORDER_MAGIC, INTERFACE_OPTION, NAME_RECORD, OPTION, SECTION_OPTION } from "./pcapngBlocks.ts";

export interface SectionInfo {
  /** The program that writes. */
  readonly application?: string;
  readonly comment?: string;
}

export interface InterfaceInfo {
  /** LINKTYPE_ number. */
  readonly linkType: number;
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  /** Default 0: no limit. */
  readonly snapBytes?: number;
}

/** 10^-9, as if_tsresol says it. */
const NANOSECONDS = 9;

const UNKNOWN_LENGTH = 0xffff_ffff;

/** An option's length has 16 bits. Comments above it are cut. */
const MAX_OPTION_BYTES = 0xffff;

/** In an enhanced packet block, after its type and length. */
const INTERFACE_ID_OFFSET = 8;

/** Blocks, in whatever file they will stand. */
export class PcapngBlockSink {
  readonly sink = new ByteSink();
  readonly #encoder = new TextEncoder();

  /** A packet; whether its file has the interface is not asked. */
  frame(frame: Frame): void {
    const { interfaceId, bytes, wireBytes, comments = [] } = frame;
    this.block(BLOCK.enhancedPacket, (sink) => {
      sink.uint32(interfaceId);
      this.#stamp(frame);
      sink.uint32(bytes.length);
      sink.uint32(wireBytes);
      sink.bytes(bytes);
      sink.pad();
      for (const comment of comments) this.text(OPTION.comment, comment);
      if (comments.length > 0) this.endOfOptions();
    });
  }

  block(type: number, writeBody: (sink: ByteSink) => void): void {
    const { sink } = this;
    const start = sink.length;
    sink.uint32(type);
    sink.uint32(0);
    writeBody(sink);
    const length = sink.length - start + 4;
    sink.setUint32(start + 4, length);
    sink.uint32(length);
  }

  text(code: number, text: string | undefined): void {
    if (text !== undefined) this.option(code, this.#encoder.encode(text));
  }

  option(code: number, value: Uint8Array): void {
    const kept = value.subarray(0, MAX_OPTION_BYTES);
    this.sink.uint16(code);
    this.sink.uint16(kept.length);
    this.sink.bytes(kept);
    this.sink.pad();
  }

  endOfOptions(): void {
    this.sink.uint32(OPTION.end);
  }

  /** Nanoseconds since the epoch in 64 bits, in steps of which each is exact in a float64. */
  #stamp({ seconds, nanoseconds }: Frame): void {
    const whole = Math.max(0, seconds);
    const upper = Math.floor(whole / 65_536) * 1e9;
    const rest = (upper % 65_536) * 65_536 + (whole % 65_536) * 1e9 + nanoseconds;
    this.sink.uint32(Math.floor(upper / 65_536) + Math.floor(rest / 0x1_0000_0000));
    this.sink.uint32(rest % 0x1_0000_0000);
  }
}

export class PcapngWriter implements CaptureWriter {
  readonly #blocks = new PcapngBlockSink();
  readonly #encoder = new TextEncoder();
  #interfaces = 0;

  constructor({ application, comment }: SectionInfo) {
    this.#blocks.block(BLOCK.section, (sink) => {
      sink.uint32(BYTE_ORDER_MAGIC);
      sink.uint16(1);
      sink.uint16(0);
      sink.uint32(UNKNOWN_LENGTH); // 64 bits of -1: the section goes on to the end of the file
      sink.uint32(UNKNOWN_LENGTH);
      this.#blocks.text(OPTION.comment, comment);
      this.#blocks.text(SECTION_OPTION.application, application);
      this.#blocks.endOfOptions();
    });
  }

  /** Answers the number by which frames name the interface. */
  addInterface({ linkType, name, description, snapBytes = 0 }: InterfaceInfo): number {
    this.#blocks.block(BLOCK.interface, (sink) => {
      sink.uint16(linkType);
      sink.uint16(0);
      sink.uint32(snapBytes);
      this.#blocks.text(INTERFACE_OPTION.name, name);
      this.#blocks.text(INTERFACE_OPTION.description, description);
      this.#blocks.option(INTERFACE_OPTION.resolution, Uint8Array.of(NANOSECONDS));
      this.#blocks.endOfOptions();
    });
    return this.#interfaces++;
  }

  /** Names that Wireshark shows in the place of addresses. */
  addNames(names: Iterable<readonly [IpAddress, string]>): void {
    this.#blocks.block(BLOCK.nameResolution, (sink) => {
      for (const [address, name] of names) {
        const text = this.#encoder.encode(`${name}\0`);
        sink.uint16(address.family === 4 ? NAME_RECORD.ipv4 : NAME_RECORD.ipv6);
        sink.uint16(4 * address.words.length + text.length);
        const place = sink.zeros(4 * address.words.length);
        for (const [index, word] of address.words.entries()) {
          new DataView(place.buffer, place.byteOffset).setInt32(4 * index, word);
        }
        sink.bytes(text);
        sink.pad();
      }
      sink.uint32(NAME_RECORD.end);
    });
  }

  frame(frame: Frame): void {
    this.#check(frame.interfaceId);
    this.#blocks.frame(frame);
  }

  /** The block that another sink made of a frame; it gets the interface's number here. */
  append(block: Uint8Array, interfaceId: number): void {
    this.#check(interfaceId);
    const { sink } = this.#blocks;
    const start = sink.length;
    sink.bytes(block);
    sink.setUint32(start + INTERFACE_ID_OFFSET, interfaceId);
  }

  get length(): number {
    return this.#blocks.sink.length;
  }

  take(): Uint8Array {
    return this.#blocks.sink.take();
  }

  #check(interfaceId: number): void {
    if (interfaceId >= this.#interfaces) throw new RangeError(`interface ${interfaceId} of ${this.#interfaces}`);
  }
}
