/** A stream of bytes seen through a window that moves forward: the part a reader works on lies together in one array. */

/** Most that is taken of one chunk at a time, so that a whole file in one array is not copied at once. */
const PIECE_BYTES = 1 << 18;

/** What is taken to complete a record that lies across two chunks, at least: the rest of the chunk is looked at where it lies. */
const JOINT_BYTES = 1 << 12;

const NOTHING = new Uint8Array(0);

/**
 * `bytes[start, end)` is what was read and not yet used. Readers move `start`; `fill` may move everything, so places in the
 * window hold until then.
 */
export class ByteWindow {
  bytes: Uint8Array = NOTHING;
  view: DataView = new DataView(NOTHING.buffer);
  start = 0;
  end = 0;
  /** Offset in the stream of `bytes[0]`. */
  #base = 0;
  #ended = false;
  /** The chunk read last, and how much of it was taken into the window. */
  #chunk: Uint8Array = NOTHING;
  #taken = 0;
  /** Takes records that lie across pieces. */
  #own: Uint8Array = NOTHING;
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
    this.#taken = 0;
    await this.#chunks.return?.();
  }

  async #more(): Promise<boolean> {
    while (this.#taken === this.#chunk.length) {
      if (this.#ended) return false;
      const { done, value } = await this.#chunks.next();
      if (done === true) {
        this.#ended = true;
        continue;
      }
      this.#chunk = value;
      this.#taken = 0;
    }
    const chunk = this.#chunk;
    const held = this.available;
    if (held <= this.#taken) {
      // All that is held lies in this chunk as well, before what was not taken yet.
      const from = this.#taken - held;
      this.#taken = Math.min(chunk.length, this.#taken + PIECE_BYTES);
      this.#show(chunk, from, this.#taken);
      return true;
    }
    const piece = chunk.subarray(this.#taken, this.#taken + JOINT_BYTES);
    this.#taken += piece.length;
    this.#append(piece);
    return true;
  }

  /** Makes `bytes[start, end)` of another array the window, which begins where the old one stands. */
  #show(bytes: Uint8Array, start: number, end: number): void {
    this.#base += this.start - start;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.start = start;
    this.end = end;
  }

  /** A record lies across two pieces: both go into an array of our own, as the pieces are not ours to write into. */
  #append(piece: Uint8Array): void {
    const held = this.available;
    const isOwn = this.bytes === this.#own;
    if (isOwn && this.end + piece.length <= this.#own.length) {
      this.#own.set(piece, this.end);
      this.end += piece.length;
      return;
    }
    if (held + piece.length > this.#own.length) {
      const own = new Uint8Array(Math.max(2 * this.#own.length, 2 * (held + piece.length)));
      own.set(this.bytes.subarray(this.start, this.end));
      this.#own = own;
    } else if (isOwn) {
      this.#own.copyWithin(0, this.start, this.end);
    } else {
      this.#own.set(this.bytes.subarray(this.start, this.end));
    }
    this.#own.set(piece, held);
    this.#show(this.#own, 0, held + piece.length);
  }
}
