/**
 * pcap files: both byte orders, micro- and nanoseconds (draft-ietf-opsawg-pcap), and the records with 8 more bytes that some
 * old kernels wrote (magic a1b2cd34, as libpcap reads them).
 *
 *   header  0 magic · 4 version 2.4 · 8 zone · 12 accuracy · 16 snap length · 20 link type (low 16 bits)
 *   record  0 seconds · 4 fraction · 8 captured length · 12 length on the wire · 16 the frame
 */
import type { ByteWindow } from "./byteWindow.ts";
import { CaptureRows, MAX_FRAME_BYTES } from "./captureRows.ts";
import { Findings } from "./findings.ts";
import {
  type CaptureInterface,
  type TrafficBatch,
  TrafficError,
  type TrafficOptions,
  type TrafficSource,
} from "./source.ts";

const HEADER_BYTES = 24;

interface Magic {
  readonly isLittleEndian: boolean;
  readonly nanosecondsPerUnit: 1 | 1000;
  readonly recordBytes: 16 | 24;
}

/** By the first four bytes, read big-endian. */
const MAGICS: ReadonlyMap<number, Magic> = new Map([
  [0xa1b2c3d4, { isLittleEndian: false, nanosecondsPerUnit: 1000, recordBytes: 16 }],
  [0xd4c3b2a1, { isLittleEndian: true, nanosecondsPerUnit: 1000, recordBytes: 16 }],
  [0xa1b23c4d, { isLittleEndian: false, nanosecondsPerUnit: 1, recordBytes: 16 }],
  [0x4d3cb2a1, { isLittleEndian: true, nanosecondsPerUnit: 1, recordBytes: 16 }],
  [0xa1b2cd34, { isLittleEndian: false, nanosecondsPerUnit: 1000, recordBytes: 24 }],
  [0x34cdb2a1, { isLittleEndian: true, nanosecondsPerUnit: 1000, recordBytes: 24 }],
]);

/** Whether a file that starts with these four bytes (big-endian) is a pcap. */
export function isPcapMagic(magic: number): boolean {
  return MAGICS.has(magic);
}

/** Reads the file header; the window stands at the start of the input. */
export async function readPcap(window: ByteWindow, options: TrafficOptions): Promise<TrafficSource> {
  if (!(await window.fill(HEADER_BYTES))) {
    throw new TrafficError(
      `the file header of a pcap has ${HEADER_BYTES} bytes, found ${window.available}`,
      window.offset,
    );
  }
  const { view, start } = window;
  const magic = MAGICS.get(view.getUint32(start));
  if (magic === undefined) throw new TrafficError("not a pcap: its first four bytes are no known magic number", 0);
  const { isLittleEndian } = magic;
  const major = view.getUint16(start + 4, isLittleEndian);
  if (major !== 2) throw new TrafficError(`pcap version 2 is read, found version ${major}`, 4);
  const found: CaptureInterface = {
    name: undefined,
    description: undefined,
    linkType: view.getUint32(start + 20, isLittleEndian) & 0xffff,
    snapBytes: view.getUint32(start + 16, isLittleEndian),
    node: undefined,
  };
  window.start += HEADER_BYTES;
  return new PcapSource(window, magic, found, options);
}

class PcapSource implements TrafficSource {
  readonly format = "pcap";
  readonly isImplied = false;
  readonly interfaces: readonly CaptureInterface[];
  readonly #findings = new Findings();
  readonly notes = this.#findings.notes;
  readonly issues = this.#findings.issues;
  readonly skipped = this.#findings.skipped;
  readonly names = this.#findings.names;
  readonly #window: ByteWindow;
  readonly #magic: Magic;
  readonly #rows: CaptureRows;
  /** Bytes that the next record needs in the window; 0: the input is damaged there. */
  #needed = 0;

  constructor(window: ByteWindow, magic: Magic, found: CaptureInterface, options: TrafficOptions) {
    this.#window = window;
    this.#magic = magic;
    this.interfaces = [found];
    this.#rows = new CaptureRows(this.#findings, options);
    this.#rows.linkType = found.linkType ?? 0;
  }

  async *batches(): AsyncGenerator<TrafficBatch> {
    const window = this.#window;
    const { batch } = this.#rows;
    try {
      for (;;) {
        this.#rows.begin(window);
        this.#readRecords();
        if (batch.packets.length > 0) yield batch;
        if (this.#needed === 0) break;
        if (!this.#rows.isFull && !(await window.fill(this.#needed))) {
          if (window.available > 0) this.#reportCut();
          break;
        }
      }
    } finally {
      this.#rows.finish();
      await window.close();
    }
  }

  /** Takes records from the window until it or the batch is used up. */
  #readRecords(): void {
    const window = this.#window;
    const rows = this.#rows;
    const { view, end } = window;
    const { isLittleEndian, nanosecondsPerUnit, recordBytes } = this.#magic;
    let at = window.start;
    let needed: number = recordBytes;
    while (!rows.isFull && at + recordBytes <= end) {
      const captured = view.getUint32(at + 8, isLittleEndian);
      if (captured > MAX_FRAME_BYTES) {
        this.#findings.fail(
          { offset: window.offsetOf(at) },
          `a record says it holds ${captured} bytes; a captured frame has at most ${MAX_FRAME_BYTES}, so the file is damaged here`,
        );
        needed = 0;
        break;
      }
      const frame = at + recordBytes;
      if (frame + captured > end) {
        needed = recordBytes + captured;
        break;
      }
      const fraction = view.getUint32(at + 4, isLittleEndian) * nanosecondsPerUnit;
      rows.seconds = view.getUint32(at, isLittleEndian);
      rows.nanoseconds = fraction;
      if (fraction >= 1e9) {
        // Damaged or careless writers; the whole seconds belong to the seconds.
        rows.seconds += Math.floor(fraction / 1e9);
        rows.nanoseconds = fraction % 1e9;
      }
      const wire = view.getUint32(at + 12, isLittleEndian);
      rows.offset = window.offsetOf(at);
      rows.add(frame, captured, Math.max(wire, captured));
      at = frame + captured;
    }
    window.start = at;
    this.#needed = needed;
  }

  #reportCut(): void {
    const { offset, available } = this.#window;
    this.#findings.warn(
      { offset },
      `the file ends inside its last record: ${available} bytes of ${this.#needed} are there; it is left out`,
    );
  }
}
