/** What passed and what did not over time, in at most `MAX_BUCKETS` buckets however long the recording is. */

/** Enough for a page, and for a terminal to squeeze. */
const MAX_BUCKETS = 240;
/** Widths in seconds, each a multiple of the one before, so that buckets merge whole: an hour of traffic has 30 s, a day 10 min. */
const WIDTHS = [0.001, 0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 21_600, 86_400] as const;

/** Share of a bucket at either edge; at the shortest width the times of our days are exact to a thousandth of it. */
const EDGE = 0.01;

/** Columns of a bucket: packets by `VERDICT_CODE` (4), flows begun, flows refused at their beginning. */
const STRIDE = 6;
const FLOWS = 4;
const REFUSED = 5;

export interface TimelineBucket {
  /** Seconds since the epoch. */
  readonly time: number;
  readonly accept: number;
  readonly drop: number;
  readonly reject: number;
  readonly unknown: number;
  readonly flows: number;
  readonly refusedFlows: number;
}

/**
 * Buckets are at whole multiples of their width, so that timelines of parts of a recording add up to that of the whole.
 * When a packet lies beyond the last bucket, the next width is taken and buckets are merged.
 */
export class Timeline {
  #width = 0;
  #start = 0;
  #count = 0;
  #cells = new Float64Array(MAX_BUCKETS * STRIDE);
  /** The bucket found last, and between which times the next packet falls into it as well. */
  #last = 0;
  #lastFrom = Number.POSITIVE_INFINITY;
  #lastTo = Number.NEGATIVE_INFINITY;

  /** Seconds; index into `WIDTHS` is kept instead of it. */
  get bucketSeconds(): number {
    return WIDTHS[this.#width] ?? 1;
  }

  packet(time: number, verdict: number): void {
    const isInLast = time > this.#lastFrom && time < this.#lastTo;
    const at = (isInLast ? this.#last : this.#bucket(time)) * STRIDE + verdict;
    this.#cells[at] = (this.#cells[at] ?? 0) + 1;
  }

  /** The first so many packets of columns, in order of time. */
  packets(times: Float64Array, verdicts: Uint8Array, count: number): void {
    if (!((times[0] ?? 0) > this.#lastFrom && (times[count - 1] ?? 0) < this.#lastTo)) {
      for (let row = 0; row < count; row++) this.packet(times[row] ?? 0, verdicts[row] ?? 0);
      return;
    }
    const cells = this.#cells;
    const at = this.#last * STRIDE;
    for (let row = 0; row < count; row++) {
      const cell = at + (verdicts[row] ?? 0);
      cells[cell] = (cells[cell] ?? 0) + 1;
    }
  }

  flow(time: number, isRefused: number): void {
    const at = this.#bucket(time) * STRIDE;
    this.#cells[at + FLOWS] = (this.#cells[at + FLOWS] ?? 0) + 1;
    this.#cells[at + REFUSED] = (this.#cells[at + REFUSED] ?? 0) + isRefused;
  }

  buckets(): readonly TimelineBucket[] {
    return Array.from({ length: this.#count }, (_, bucket) => {
      const [accept = 0, drop = 0, reject = 0, unknown = 0, flows = 0, refusedFlows = 0] = this.#cells.subarray(
        bucket * STRIDE,
        (bucket + 1) * STRIDE,
      );
      const time = (this.#start + bucket) * this.bucketSeconds;
      return { time: Math.round(time * 1000) / 1000, accept, drop, reject, unknown, flows, refusedFlows };
    });
  }

  /** Everything, to be kept or sent elsewhere. */
  state(): TimelineState {
    return { width: this.#width, start: this.#start, count: this.#count, cells: this.#cells.slice() };
  }

  /** Adds what another timeline saw. */
  merge(other: TimelineState): void {
    if (other.count === 0) return;
    while (this.#count > 0 && this.#width < other.width) this.#widen();
    // Whatever comes next may move the buckets.
    this.#lastTo = Number.NEGATIVE_INFINITY;
    if (this.#count === 0) {
      this.#width = other.width;
      this.#start = other.start;
      this.#count = other.count;
      this.#cells = other.cells.slice();
      return;
    }
    const seconds = WIDTHS[other.width] ?? 1;
    for (let bucket = 0; bucket < other.count; bucket++) {
      // The middle, so that rounding cannot move it over an edge.
      const at = this.#bucket((other.start + bucket + 0.5) * seconds) * STRIDE;
      for (let cell = 0; cell < STRIDE; cell++) {
        this.#cells[at + cell] = (this.#cells[at + cell] ?? 0) + (other.cells[bucket * STRIDE + cell] ?? 0);
      }
    }
  }

  #bucket(time: number): number {
    const bucket = this.#find(time);
    this.#last = bucket;
    // Short of the edges, where rounding decides.
    this.#lastFrom = (this.#start + bucket + EDGE) * this.bucketSeconds;
    this.#lastTo = (this.#start + bucket + 1 - EDGE) * this.bucketSeconds;
    return bucket;
  }

  #find(time: number): number {
    let whole = Math.floor(time / this.bucketSeconds);
    if (this.#count === 0) {
      this.#start = whole;
      this.#count = 1;
      return 0;
    }
    while (whole - this.#start >= MAX_BUCKETS || this.#start + this.#count - whole > MAX_BUCKETS) {
      if (!this.#widen()) break;
      whole = Math.floor(time / this.bucketSeconds);
    }
    if (whole < this.#start) this.#prepend(this.#start - whole);
    const bucket = Math.min(MAX_BUCKETS - 1, whole - this.#start);
    if (bucket >= this.#count) this.#count = bucket + 1;
    return bucket;
  }

  /** False at the widest. */
  #widen(): boolean {
    const from = this.bucketSeconds;
    if (this.#width + 1 >= WIDTHS.length) return false;
    this.#width++;
    const to = this.bucketSeconds;
    const start = Math.floor(((this.#start + 0.5) * from) / to);
    const cells = new Float64Array(MAX_BUCKETS * STRIDE);
    let count = 0;
    for (let bucket = 0; bucket < this.#count; bucket++) {
      const target = Math.floor(((this.#start + bucket + 0.5) * from) / to) - start;
      count = Math.max(count, target + 1);
      for (let cell = 0; cell < STRIDE; cell++) {
        const at = target * STRIDE + cell;
        cells[at] = (cells[at] ?? 0) + (this.#cells[bucket * STRIDE + cell] ?? 0);
      }
    }
    this.#start = start;
    this.#count = count;
    this.#cells = cells;
    return true;
  }

  #prepend(buckets: number): void {
    const more = Math.min(buckets, MAX_BUCKETS - this.#count);
    const cells = new Float64Array(MAX_BUCKETS * STRIDE);
    cells.set(this.#cells.subarray(0, this.#count * STRIDE), more * STRIDE);
    this.#cells = cells;
    this.#start -= more;
    this.#count += more;
  }
}

export interface TimelineState {
  readonly width: number;
  readonly start: number;
  readonly count: number;
  readonly cells: Float64Array;
}
