/**
 * The recording written again, each packet with what became of it as a comment: for Wireshark and tshark. Packets are annotated where
 * they are pushed, by one thread or by several, and put into one file in the order of the recording.
 */
import type { IpAddress } from "../../dataplane/address.ts";
import { CT_STATES, VERDICTS } from "../../dataplane/verdict.ts";
import type { PushedRows } from "../../replay/replay.ts";
import type { Side } from "../../replay/side.ts";
import { capturedFrame, PACKET_LINK_TYPE, packetFrame } from "../../traffic/captureWriter.ts";
import { packetAt } from "../../traffic/packetRow.ts";
import type { CaptureInterface } from "../../traffic/source.ts";
import { PcapngBlockSink, PcapngWriter } from "../../traffic/writePcapng.ts";
import { formatDecision } from "../trace.ts";

/** Packets with their comments, as blocks of a pcapng one after the other; data that can be sent to another thread. */
export interface AnnotatedFrames {
  /** Numbers of the packets in the whole recording, which increase. */
  readonly order: Float64Array;
  /** Where the block of each ends in `bytes`. */
  readonly ends: Uint32Array;
  /** Interfaces of the recording; `BARE`: a packet without a frame. */
  readonly interfaceIds: Int32Array;
  readonly bytes: Uint8Array;
  /** What these interfaces are, each once over all pieces of one annotator. */
  readonly interfaces: readonly (readonly [number, CaptureInterface])[];
}

/** Interfaces of the recording that the file has, in the order of their numbers there. */
export type WrittenInterfaces = readonly (readonly [own: number, described: CaptureInterface | undefined])[];

/** The file: pieces of one or of several annotators become one, ordered. */
export class AnnotatedCapture {
  readonly #writer: PcapngWriter;
  readonly #described = new Map<number, CaptureInterface>();
  /** Interface numbers of the recording -> those of the file; rows without a frame have one of their own. */
  readonly #numbers = new Map<number, number>();

  constructor(names: Iterable<readonly [IpAddress, string]>) {
    this.#writer = new PcapngWriter({ application: "chainwalk replay" });
    this.#writer.addNames(names);
  }

  /** Each piece is of other packets of the same part of the recording. */
  add(pieces: readonly AnnotatedFrames[]): void {
    for (const { interfaces } of pieces) for (const [own, each] of interfaces) this.#described.set(own, each);
    for (const { piece, at } of inOrder(pieces)) {
      const block = piece.bytes.subarray(at === 0 ? 0 : piece.ends[at - 1], piece.ends[at]);
      this.#writer.append(block, this.#interface(piece.interfaceIds[at] ?? BARE));
    }
  }

  take(): Uint8Array {
    return this.#writer.take();
  }

  /** What has to be known to go on from here. */
  get interfaces(): WrittenInterfaces {
    return [...this.#numbers.keys()].map((own) => [own, this.#described.get(own)]);
  }

  /** Goes on behind a file that was written so far, before anything is added. */
  resume(interfaces: WrittenInterfaces): void {
    for (const [own, described] of interfaces) {
      if (described !== undefined) this.#described.set(own, described);
      this.#interface(own);
    }
    this.#writer.take(); // is in that file
  }

  #interface(own: number): number {
    const known = this.#numbers.get(own);
    if (known !== undefined) return known;
    const described = this.#described.get(own);
    const number = this.#writer.addInterface({
      linkType: described?.linkType ?? PACKET_LINK_TYPE,
      ...(described !== undefined && {
        name: described.name,
        description: described.description,
        snapBytes: described.snapBytes,
      }),
    });
    this.#numbers.set(own, number);
    return number;
  }
}

/** Annotates what is pushed in one thread. */
export class FrameAnnotator {
  readonly #blocks = new PcapngBlockSink();
  readonly #interfaces: readonly CaptureInterface[];
  readonly #texts = new Map<Side, string[]>();
  readonly #told = new Set<number>();
  #order: number[] = [];
  #ends: number[] = [];
  #interfaceIds: number[] = [];
  #new: (readonly [number, CaptureInterface])[] = [];

  /** `interfaces` are those of the recording, which grow while it is read. */
  constructor(interfaces: readonly CaptureInterface[]) {
    this.#interfaces = interfaces;
  }

  rows({ traffic, rows, length, sides, firstIndex }: PushedRows): void {
    for (let at = 0; at < length; at++) {
      const row = rows[at] ?? 0;
      const captured = capturedFrame(traffic, row);
      const frame = captured ?? packetFrame(packetAt(traffic.packets, row));
      const comments = sides.map((side) => this.#comment(side, at, sides.length));
      this.#blocks.frame({ ...frame, interfaceId: 0, comments });
      this.#order.push(firstIndex + row);
      this.#ends.push(this.#blocks.sink.length);
      this.#interfaceIds.push(captured === undefined ? BARE : this.#tell(traffic.interfaceId[row] ?? 0));
    }
  }

  /** Everything since the last call. */
  take(): AnnotatedFrames {
    const frames = {
      order: Float64Array.from(this.#order),
      ends: Uint32Array.from(this.#ends),
      interfaceIds: Int32Array.from(this.#interfaceIds),
      bytes: this.#blocks.sink.take(),
      interfaces: this.#new,
    };
    [this.#order, this.#ends, this.#interfaceIds, this.#new] = [[], [], [], []];
    return frames;
  }

  #tell(own: number): number {
    const described = this.#interfaces[own];
    if (described !== undefined && !this.#told.has(own)) {
      this.#told.add(own);
      this.#new.push([own, described]);
    }
    return own;
  }

  /** `after: reject, new, on node-a by filter KUBE-POD-FW-… rule 5 (default/db-policy)` */
  #comment(side: Side, at: number, count: number): string {
    const verdict = VERDICTS[side.verdict[at] ?? 0];
    const state = CT_STATES[side.ctStateOf(at)];
    const cause = side.causeOf(at);
    let texts = this.#texts.get(side);
    if (texts === undefined) {
      texts = [];
      this.#texts.set(side, texts);
    }
    texts[cause] ??= causeText(side, cause);
    return `${count > 1 ? `${side.name}: ` : `${side.strategyName}: `}${verdict}, ${state}${texts[cause]}`;
  }
}

const BARE = -1;

interface Place {
  readonly piece: AnnotatedFrames;
  readonly at: number;
}

function* inOrder(pieces: readonly AnnotatedFrames[]): Generator<Place> {
  const next = pieces.map(() => 0);
  for (;;) {
    let first = -1;
    let lowest = Number.POSITIVE_INFINITY;
    for (const [number, { order }] of pieces.entries()) {
      const index = order[next[number] ?? 0] ?? Number.POSITIVE_INFINITY;
      if (index < lowest) [first, lowest] = [number, index];
    }
    const piece = pieces[first];
    if (piece === undefined) return;
    const at = next[first] ?? 0;
    next[first] = at + 1;
    yield { piece, at };
  }
}

function causeText({ causes }: Side, number: number): string {
  const cause = causes[number];
  if (cause?.because !== undefined) return `, ${cause.because.join("; ")}`;
  if (cause?.decision === undefined) return ", no node sees it";
  const { origin } = cause.decision;
  return `, ${formatDecision(cause.decision)}${origin === undefined ? "" : ` (${origin})`}`;
}
