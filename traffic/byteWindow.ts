/** A stream of bytes seen through a window that moves forward: the part a reader works on lies together in one array. */

/** Most that is taken of one chunk at a time, so that a whole file in one array is not copied at once. */
const PIECE_BYTES = 1 << 18;

const NOTHING = new Uint8Array(0);

/**
 * `bytes[start, end)` is what was read and not yet used. Readers move `start`; `fill` may move everything, so places in the
 * window hold until then.
 */
export class ByteWindow {
  bytes = NOTHING;
  view = new DataView(NOTHING.buffer);
  start = 0;
  end = 0;
  /** Offset in the stream of `bytes[0]`. */
  #base = 0;
  #ended = false;
  /** What is left of the chunk read last. */
  #chunk: Uint8Array = NOTHING;
  readonly #chunks: AsyncIterator<Uint8Array>;

  constructor(input: AsyncIterable<Uint8Array>) {
    this.#chunks = input[Symbol.asyncIterator]();
  }

  /** Offset in the stream of `start`. */
  get offset(): number {
    return this.#base + this.start;
  }

  /** Offset in the stream of a place in the window. */
  offsetOf(place: number): number {
    return this.#base + place;
  }

  get available(): number {
    return this.end - this.start;
  }

  /** Reads until at least `count` bytes are available; false when the stream ends before. */
  async fill(count: number): Promise<boolean> {
    while (this.available < count) {
      if (!(await this.#more())) return false;
    }
    return true;
  }

  /** Moves over `count` bytes without keeping them; false when the stream ends before. */
  async skip(count: number): Promise<boolean> {
    let left = count;
    while (left > this.available) {
      left -= this.available;
      this.start = this.end;
      if (!(await this.#more())) return false;
    }
    this.start += left;
    return true;
  }

  /** Tells the stream that no more is wanted. */
  async close(): Promise<void> {
    this.#ended = true;
    this.#chunk = NOTHING;
    await this.#chunks.return?.();
  }

  async #more(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      if (this.#ended) return false;
      const { done, value } = await this.#chunks.next();
      if (done === true) this.#ended = true;
      else this.#chunk = value;
    }
    const piece = this.#chunk.subarray(0, PIECE_BYTES);
    this.#chunk = this.#chunk.subarray(piece.length);
    if (this.end + piece.length > this.bytes.length) this.#makeRoom(piece.length);
    this.bytes.set(piece, this.end);
    this.end += piece.length;
    return true;
  }

  #makeRoom(count: number): void {
    const held = this.available;
    if (held + count <= this.bytes.length) {
      this.bytes.copyWithin(0, this.start, this.end);
    } else {
      const bytes = new Uint8Array(Math.max(2 * this.bytes.length, held + count));
      bytes.set(this.bytes.subarray(this.start, this.end));
      this.bytes = bytes;
      this.view = new DataView(bytes.buffer);
    }
    this.#base += this.start;
    this.start = 0;
    this.end = held;
  }
}
