/** Bytes written one after the other, taken away in pieces. */

/** Room to start with; doubles as needed. */
const ROOM_BYTES = 1 << 16;

/** Numbers go in little-endian, the order of the files written here. Positions count from the last `take`. */
export class ByteSink {
  #bytes = new Uint8Array(ROOM_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  uint16(value: number): void {
    this.#reserve(2);
    this.#view.setUint16(this.#length, value, true);
    this.#length += 2;
  }

  uint32(value: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  /** A copy of the bytes. */
  bytes(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** `count` bytes of zero for the caller to fill in at once: the place does not outlive the next call. */
  zeros(count: number): Uint8Array {
    this.#reserve(count);
    const place = this.#bytes.subarray(this.#length, this.#length + count);
    place.fill(0);
    this.#length += count;
    return place;
  }

  /** Zeros up to the next whole word. */
  pad(): void {
    this.zeros(-this.#length & 3);
  }

  /** Overwrites four bytes written before. */
  setUint32(position: number, value: number): void {
    this.#view.setUint32(position, value, true);
  }

  /** What was written since the last time, to keep. */
  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return taken;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const bytes = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + count));
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}
