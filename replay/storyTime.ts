/** When the steps of a story are taken: on the clock of the traffic, and before which of its rows. */
import type { StoryTime } from "../verify/story.ts";

/** Times of a story on the clock of the traffic. */
export class StoryClock {
  readonly #times: readonly StoryTime[];
  #start: number | undefined;

  /** `times` of the steps in order; `start`: where the story's own clock begins; undefined: at the first packet read. */
  constructor(times: readonly StoryTime[], start?: number) {
    this.#times = times;
    this.#start = start;
  }

  /** A packet is read; the first one may be where the story begins. */
  see(time: number): void {
    this.#start ??= time;
  }

  /** Seconds since the epoch at which a step (from 1) is taken; infinite: there is no such step. */
  timeOf(step: number): number {
    const time = this.#times[step - 1];
    if (time === undefined) return Number.POSITIVE_INFINITY;
    return time.from === "the epoch" ? time.seconds : (this.#start ?? 0) + time.seconds;
  }

  /** Steps taken by then: a packet of the very time of a step meets the cluster after it. */
  stepAt(time: number): number {
    let [from, to] = [0, this.#times.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.timeOf(middle + 1) <= time) from = middle + 1;
      else to = middle;
    }
    return from;
  }
}

/** Before which row of the traffic each step was taken; without a story all rows are of step 0. */
export class StepStarts {
  readonly #rows: number[] = [];

  /** Steps taken so far. */
  get taken(): number {
    return this.#rows.length;
  }

  /** The next step is taken; `row` is the first that comes after it. */
  take(row: number): void {
    this.#rows.push(row);
  }

  /** Steps taken when a row came. */
  before(row: number): number {
    const rows = this.#rows;
    let [from, to] = [0, rows.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if ((rows[middle] ?? 0) <= row) from = middle + 1;
      else to = middle;
    }
    return from;
  }
}
