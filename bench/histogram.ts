/** A distribution of positive numbers of any scale in little room, which can be added to another of its kind. */

/** Neighbouring buckets differ by 2 %, so a quantile is right within 1 %. */
const STEP = Math.log(1.02);

/** Bucket number and count. */
export type Bucket = readonly [bucket: number, count: number];

export class Histogram {
  readonly #counts = new Map<number, number>();
  #total = 0;

  /** Adds values; what is not above 0 counts as the smallest number there is a bucket for, 0.001. */
  add(value: number, count = 1): void {
    this.#addBucket(Math.round(Math.log(Math.max(value, 0.001)) / STEP), count);
  }

  addBuckets(buckets: readonly Bucket[]): void {
    for (const [bucket, count] of buckets) this.#addBucket(bucket, count);
  }

  get total(): number {
    return this.#total;
  }

  /** In ascending order. */
  get buckets(): readonly Bucket[] {
    return [...this.#counts].sort(([a], [b]) => a - b);
  }

  /** NaN when nothing was added. */
  quantile(share: number): number {
    let left = share * this.#total;
    for (const [bucket, count] of this.buckets) {
      left -= count;
      if (left <= 0) return bucketValue(bucket);
    }
    return Number.NaN;
  }

  #addBucket(bucket: number, count: number): void {
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + count);
    this.#total += count;
  }
}

/** The value that stands for a bucket. */
export function bucketValue(bucket: number): number {
  return Math.exp(bucket * STEP);
}
