/** Which openings nodes refuse, and how: bits by destination, in rows of a source and a port. */
import { VERDICT_CODE } from "../../dataplane/verdict.ts";
import type { AtomSet } from "../atomSet.ts";
import type { Box } from "./boxes.ts";
import type { PairQuestion } from "./question.ts";

/** A byte for each verdict, by `VERDICT_CODE`. */
export type Signs = Uint8Array;

const DROP = 1;
const REJECT = 2;

/** Cells that one look finds the signs of. */
const TOGETHER = 4;

/**
 * Openings of which nothing is said pass. A packet meets its second node when the first has let it pass, but nodes may be asked
 * in any order: what the second ones say is kept apart, and holds where the first say nothing.
 *
 *     row of a source and a port, for first nodes and for second ones
 *     | dropped: a bit for each destination, in words of 32 | rejected |
 */
export class Refusals {
  readonly #sources: AtomSet;
  readonly #ports: number;
  /** Words of a row's bits. */
  readonly #words: number;
  /** By source: its place among those that were asked for. */
  readonly #rows: Int32Array;
  readonly #byFirst: Int32Array;
  readonly #bySecond: Int32Array;
  #own: AtomSet;

  constructor({ ends, ports, words }: PairQuestion, sources: AtomSet) {
    this.#sources = sources;
    this.#ports = ports.length;
    this.#words = words;
    this.#rows = new Int32Array(ends.length);
    for (const [row, source] of [...sources].entries()) this.#rows[source] = row;
    const size = sources.size * ports.length * this.#words * 2;
    this.#byFirst = new Int32Array(size);
    this.#bySecond = new Int32Array(size);
    this.#own = sources;
  }

  /** From now on a node speaks that has these ends: it is the first to packets from them, and the second to others. */
  enter(own: AtomSet): void {
    this.#own = own;
  }

  /** The node refuses all openings of a box; no other box of it has one of them. */
  add(verdict: number, { sources, destinations, ports }: Box): void {
    const plane = verdict === VERDICT_CODE.reject ? this.#words : 0;
    const at = [...ports];
    for (const source of sources) {
      const bits = this.#own.has(source) ? this.#byFirst : this.#bySecond;
      const row = (this.#rows[source] ?? 0) * this.#ports;
      for (let index = 0; index < at.length; index++) {
        destinations.addTo(bits, (row + (at[index] ?? 0)) * this.#words * 2 + plane);
      }
    }
  }

  /** The signs of verdicts by source, port and destination: `(source · ports + port) · 32 · question.words + destination`. */
  signed(signs: Signs): Uint8Array {
    const looks = looksOf(signs);
    const words = this.#words;
    const stride = words * 32;
    const rows = this.#sources.size * this.#ports;
    const cells = new Uint32Array((rows * stride) / TOGETHER);
    for (let row = 0; row < rows; row++) this.#writeRow(row * words * 2, cells, row * words * (32 / TOGETHER), looks);
    const bytes = new Uint8Array(cells.buffer);
    // What an address sends to itself never leaves it.
    const accept = signs[VERDICT_CODE.accept] ?? 0;
    for (const source of this.#sources) {
      const first = (this.#rows[source] ?? 0) * this.#ports;
      for (let port = 0; port < this.#ports; port++) bytes[(first + port) * stride + source] = accept;
    }
    return bytes;
  }

  #writeRow(from: number, cells: Uint32Array, to: number, looks: Uint32Array): void {
    const [first, second, words] = [this.#byFirst, this.#bySecond, this.#words];
    let cell = to;
    for (let word = from; word < from + words; word++) {
      let dropped = first[word] ?? 0;
      let rejected = first[word + words] ?? 0;
      const passed = ~(dropped | rejected);
      dropped |= (second[word] ?? 0) & passed;
      rejected |= (second[word + words] ?? 0) & passed;
      for (let shift = 0; shift < 32; shift += TOGETHER) {
        cells[cell++] = looks[((dropped >>> shift) & 15) | (((rejected >>> shift) & 15) << TOGETHER)] ?? 0;
      }
    }
  }
}

/** By four bits of what is dropped, and above them four of what is rejected: the signs of four cells, in the machine's order of bytes. */
function looksOf(signs: Signs): Uint32Array {
  const looks = new Uint32Array(1 << (2 * TOGETHER));
  const bytes = new Uint8Array(looks.buffer);
  for (let look = 0; look < looks.length; look++) {
    for (let bit = 0; bit < TOGETHER; bit++) {
      const said = (((look >>> bit) & 1) === 1 ? DROP : 0) | (((look >>> (bit + TOGETHER)) & 1) === 1 ? REJECT : 0);
      const verdict = said === 0 ? VERDICT_CODE.accept : said === DROP ? VERDICT_CODE.drop : VERDICT_CODE.reject;
      bytes[look * TOGETHER + bit] = signs[verdict] ?? 0;
    }
  }
  return looks;
}
