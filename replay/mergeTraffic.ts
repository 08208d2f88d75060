/** Several sources as one, in order of time: captures of several nodes, or the pieces of one. */
import { copyRow } from "../traffic/copyRow.ts";
import {
  BATCH_ROWS,
  type CaptureInterface,
  createTrafficBatch,
  type TrafficBatch,
  type TrafficSource,
} from "../traffic/source.ts";
import { tailOf } from "./duplicates.ts";

export interface MergedTraffic {
  /** Of all sources; `interfaceId` counts here. Grows while `batches` runs. */
  readonly interfaces: readonly CaptureInterface[];
  /** The number of the source that an interface is of. */
  sourceOf(interfaceId: number): number;
  batches(): AsyncGenerator<TrafficBatch>;
}

export interface MergeOptions {
  /** `copied`: the bytes of frames come along, for who writes them again. */
  readonly frames: "copied" | "left out";
  /** Seconds that the clock of each source is ahead (clocks.ts): their packets count as so much earlier. Default: none. */
  readonly ahead?: readonly number[];
}

export function mergeTraffic(sources: readonly TrafficSource[], options: MergeOptions): MergedTraffic {
  const [only, ...others] = sources;
  if (only !== undefined && others.length === 0) {
    return { interfaces: only.interfaces, sourceOf: () => 0, batches: () => only.batches() };
  }
  const interfaces: CaptureInterface[] = [];
  const owners: number[] = [];
  return {
    interfaces,
    sourceOf: (interfaceId) => owners[interfaceId] ?? 0,
    batches: () => merge(sources, { interfaces, owners }, options),
  };
}

/** Interfaces of all sources, and of which source each is. */
interface Interfaces {
  readonly interfaces: CaptureInterface[];
  readonly owners: number[];
}

/** Where one source stands. */
interface Head {
  /** From 0, in the order named. */
  readonly number: number;
  readonly source: TrafficSource;
  readonly ahead: number;
  readonly batches: AsyncGenerator<TrafficBatch>;
  batch: TrafficBatch | undefined;
  row: number;
  /** Its interface numbers -> those of all. */
  readonly numbers: number[];
}

/**
 * Takes from the source whose next packet is earliest, and goes on taking from it while it stays earliest: pieces of one
 * recording, one after the other, cost one comparison a row.
 */
async function* merge(
  sources: readonly TrafficSource[],
  all: Interfaces,
  { frames, ahead = [] }: MergeOptions,
): AsyncGenerator<TrafficBatch> {
  const heads: Head[] = sources.map((source, number) => ({
    number,
    source,
    ahead: ahead[number] ?? 0,
    batches: source.batches(),
    batch: undefined,
    row: 0,
    numbers: [],
  }));
  for (const head of heads) await advance(head);
  const merged = createTrafficBatch(BATCH_ROWS);
  const bytes = new FrameBytes(merged);
  let filled = 0;
  for (;;) {
    const head = earliest(heads);
    if (head?.batch === undefined) break;
    const limit = Math.min(...heads.filter((other) => other !== head).map(timeOf));
    const { batch } = head;
    while (head.row < batch.packets.length && timeOf(head) <= limit) {
      copyRow(batch.packets, head.row, merged.packets, filled);
      merged.packets.time[filled] = timeOf(head);
      copyPlace(batch, head.row, merged, filled);
      merged.interfaceId[filled] = numberOf(head, batch.interfaceId[head.row] ?? 0, all);
      if (frames === "copied") bytes.copy(batch, head.row, filled);
      head.row++;
      if (++filled < BATCH_ROWS) continue;
      merged.packets.length = filled;
      yield merged;
      bytes.clear();
      filled = 0;
    }
    if (head.row >= batch.packets.length) await advance(head);
  }
  merged.packets.length = filled;
  if (filled > 0) yield merged;
}

async function advance(head: Head): Promise<void> {
  head.row = 0;
  for (;;) {
    const next = await head.batches.next();
    head.batch = next.done === true ? undefined : next.value;
    if (head.batch === undefined || head.batch.packets.length > 0) return;
  }
}

/** Of the next row, by the clock of the first source; infinite at the end. */
function timeOf({ batch, row, ahead }: Head): number {
  return batch === undefined ? Number.POSITIVE_INFINITY : (batch.packets.time[row] ?? Number.POSITIVE_INFINITY) - ahead;
}

/** Of equal ones the first named. */
function earliest(heads: readonly Head[]): Head | undefined {
  let found: Head | undefined;
  for (const head of heads) {
    if (head.batch !== undefined && (found === undefined || timeOf(head) < timeOf(found))) found = head;
  }
  return found;
}

function numberOf(head: Head, own: number, { interfaces, owners }: Interfaces): number {
  const known = head.numbers[own];
  if (known !== undefined) return known;
  const described = head.source.interfaces[own];
  const number = described === undefined ? 0 : interfaces.push(described) - 1;
  head.numbers[own] = number;
  if (described !== undefined) owners[number] = head.number;
  return number;
}

/** What stands beside the packet of a row; its frame is left. */
export function copyPlace(source: TrafficBatch, from: number, target: TrafficBatch, to: number): void {
  target.seconds[to] = source.seconds[from] ?? 0;
  target.nanoseconds[to] = source.nanoseconds[from] ?? 0;
  target.frameBytes[to] = source.frameBytes[from] ?? 0;
  target.offset[to] = source.offset[from] ?? 0;
  target.recorded[to] = source.recorded[from] ?? 0;
  target.direction[to] = source.direction[from] ?? 0;
  target.device[to] = source.device[from] ?? 0;
  target.capturedBytes[to] = 0;
  target.frameTail[to] = tailOf(source, from);
}

/** The bytes of frames, one after the other, in an array that grows. */
export class FrameBytes {
  readonly #batch: TrafficBatch;
  #used = 0;

  constructor(batch: TrafficBatch) {
    this.#batch = batch;
  }

  copy(source: TrafficBatch, from: number, to: number): void {
    const length = source.capturedBytes[from] ?? 0;
    const start = source.frameStart[from] ?? 0;
    if (this.#used + length > this.#batch.bytes.length) {
      const grown = new Uint8Array(Math.max(65_536, 2 * (this.#used + length)));
      grown.set(this.#batch.bytes.subarray(0, this.#used));
      this.#batch.bytes = grown;
    }
    this.#batch.bytes.set(source.bytes.subarray(start, start + length), this.#used);
    this.#batch.frameStart[to] = this.#used;
    this.#batch.capturedBytes[to] = length;
    this.#used += length;
  }

  clear(): void {
    this.#used = 0;
  }
}
