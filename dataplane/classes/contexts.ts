/** Everything a chain can read of a packet beside its connection's tuple, as one small number. */

/** Words of a record: the four words of a context, then its number, then nothing. */
const RECORD = 8;
const FIRST_BITS = 6;

/** Numbers that fit beside an outcome in a word of a connection; 0 stands for none. */
const MOST = 0xffff;

/**
 * Numbers for quadruples of words, 1 up to 65,535. A node has few: one for each pair of devices and each class of TCP
 * flags. When they run out there are no more, and packets of unnumbered contexts are classified one by one.
 */
export class Contexts {
  /** The four words of each context by number, those of number 0 unused; valid until the next `of`. */
  words = new Int32Array(4 << FIRST_BITS);
  #records = new Int32Array(RECORD << FIRST_BITS);
  #shift = 32 - FIRST_BITS;
  #size = 0;

  /** How many there are, numbered from 1. */
  get count(): number {
    return this.#size;
  }

  /** The number of a context, given out on first sight; 0 when there is none left. */
  of(devices: number, ports: number, mark: number, rest: number): number {
    const records = this.#records;
    const mask = records.length - 1;
    const start = hashOf(devices, ports, mark, rest) >>> this.#shift;
    for (let at = start * RECORD; ; at = (at + RECORD) & mask) {
      const number = records[at + 4] ?? 0;
      if (number === 0) break;
      if (
        records[at] === devices &&
        records[at + 1] === ports &&
        records[at + 2] === mark &&
        records[at + 3] === rest
      ) {
        return number;
      }
    }
    if (this.#size === MOST) return 0;
    this.#size++;
    if (this.#size * 2 * RECORD > records.length) this.#grow();
    this.#put(devices, ports, mark, rest, this.#size);
    if ((this.#size + 1) * 4 > this.words.length) {
      const words = new Int32Array(this.words.length * 2);
      words.set(this.words);
      this.words = words;
    }
    writeWords(this.words, this.#size * 4, devices, ports, mark, rest);
    return this.#size;
  }

  #put(devices: number, ports: number, mark: number, rest: number, number: number): void {
    const records = this.#records;
    const mask = records.length - 1;
    let at = (hashOf(devices, ports, mark, rest) >>> this.#shift) * RECORD;
    while (records[at + 4] !== 0) at = (at + RECORD) & mask;
    writeWords(records, at, devices, ports, mark, rest);
    records[at + 4] = number;
  }

  #grow(): void {
    const old = this.#records;
    this.#records = new Int32Array(old.length * 2);
    this.#shift--;
    for (let at = 0; at < old.length; at += RECORD) {
      const number = old[at + 4] ?? 0;
      if (number !== 0) this.#put(old[at] ?? 0, old[at + 1] ?? 0, old[at + 2] ?? 0, old[at + 3] ?? 0, number);
    }
  }
}

/** Word by word: a list of four to copy from would take longer to make. */
function writeWords(to: Int32Array, at: number, devices: number, ports: number, mark: number, rest: number): void {
  to[at] = devices;
  to[at + 1] = ports;
  to[at + 2] = mark;
  to[at + 3] = rest;
}

function hashOf(devices: number, ports: number, mark: number, rest: number): number {
  const sum =
    Math.imul(devices, 0x9e3779b1) +
    Math.imul(ports, 0x85ebca6b) +
    Math.imul(mark, 0xc2b2ae35) +
    Math.imul(rest, 0x27d4eb2f);
  const folded = sum | 0;
  return Math.imul(folded ^ (folded >>> 15), 0x9e3779b1);
}
