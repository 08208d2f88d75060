/** Time stamps of pcapng: 64-bit counts of an interface's own unit, as seconds and nanoseconds. */

/** Microseconds, where an interface does not state its resolution. */
export const DEFAULT_RESOLUTION = 6;

/**
 * One per interface. `resolution` is the byte of if_tsresol: a negative power of ten, or of two where the first bit is set;
 * `offsetSeconds` is if_tsoffset.
 */
export class CaptureClock {
  /** Of the stamp read last. What is finer than a nanosecond is cut off. */
  seconds = 0;
  nanoseconds = 0;
  readonly #units: bigint;
  /** Below 2^37, so that a remainder times 2^16 is exact in a float64; else 0, and BigInt does the work. */
  readonly #small: number;
  readonly #nanosecondsPerUnit: number;
  readonly #offsetSeconds: number;

  constructor(resolution: number, offsetSeconds: number) {
    const exponent = BigInt(resolution & 0x7f);
    this.#units = (resolution & 0x80) === 0 ? 10n ** exponent : 2n ** exponent;
    this.#small = this.#units < 1n << 37n ? Number(this.#units) : 0;
    this.#nanosecondsPerUnit = 1e9 / Number(this.#units);
    this.#offsetSeconds = offsetSeconds;
  }

  /** Long division in base 65,536: the stamp does not fit into a float64, each step of this does. */
  read(high: number, low: number): void {
    const units = this.#small;
    if (units === 0) {
      this.#readLarge(high, low);
      return;
    }
    const upper = Math.floor(high / units);
    const second = (high - upper * units) * 65_536 + (low >>> 16);
    const middle = Math.floor(second / units);
    const third = (second - middle * units) * 65_536 + (low & 0xffff);
    const lower = Math.floor(third / units);
    this.seconds = upper * 0x1_0000_0000 + middle * 65_536 + lower + this.#offsetSeconds;
    this.nanoseconds = Math.floor((third - lower * units) * this.#nanosecondsPerUnit);
  }

  #readLarge(high: number, low: number): void {
    const stamp = (BigInt(high) << 32n) | BigInt(low);
    this.seconds = Number(stamp / this.#units) + this.#offsetSeconds;
    this.nanoseconds = Number(((stamp % this.#units) * 1_000_000_000n) / this.#units);
  }
}
