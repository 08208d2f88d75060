/** Things put in order of time: connections overlap, whether a log lists them or a generator makes them. */

interface Waiting<T> {
  readonly item: T;
  readonly time: number;
  /** Order of arrival, which decides among equals. */
  readonly serial: number;
}

/** A binary heap; the first in time is at 0. */
export class TimeQueue<T> {
  readonly #heap: Waiting<T>[] = [];
  #serial = 0;

  get length(): number {
    return this.#heap.length;
  }

  /** Time of the first; undefined: there is none. */
  get nextTime(): number | undefined {
    return this.#heap[0]?.time;
  }

  push(item: T, time: number): void {
    const heap = this.#heap;
    const waiting = { item, time, serial: this.#serial++ };
    let at = heap.length;
    heap.push(waiting);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = heap[parent];
      if (above === undefined || isBefore(above, waiting)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = waiting;
  }

  /** Takes the first one out. */
  pop(): T | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first?.item;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const one = heap[left];
      const other = heap[left + 1];
      if (one === undefined) break;
      const isOther = other !== undefined && isBefore(other, one);
      const child = isOther ? other : one;
      if (isBefore(last, child)) break;
      heap[at] = child;
      at = isOther ? left + 1 : left;
    }
    heap[at] = last;
    return first.item;
  }
}

function isBefore(a: Waiting<unknown>, b: Waiting<unknown>): boolean {
  return a.time < b.time || (a.time === b.time && a.serial < b.serial);
}
