/**
 * Outcomes of the packets that begin a connection, by what their walk can read, in 16 bytes each.
 *
 * Such a packet finds no entry that could remember its outcome, and a record of its kind (kindTable.ts) is 64 bytes of
 * which it reads two ends: thousands of kinds outgrow the cache, and each packet waits for them. Most of the tuple is in
 * the packet's context already, whose number is known by then, so what is left of it fits three words:
 *
 *     | source class << 16 | destination class | classes of ports | protocol, family | context << 16 | 1 + outcome; 0: free |
 *
 * Only what is tracked in zone 0 and was new with an entry of its own is here. All else goes by its kind, and so does the
 * first packet of a tuple. At most half of the records are taken; when there would be too many, all are forgotten.
 */
const RECORD = 4;
const FIRST_BITS = 10;
/** As many records as there are kinds at most, twice over. */
const MOST_BITS = 18;

export class FirstPackets {
  /** The tuple to look for without its context; overwritten by whoever asks. */
  addresses = 0;
  ports = 0;
  rest = 0;
  #records = new Int32Array(0);
  #shift = 32;
  #size = 0;

  constructor() {
    this.clear();
  }

  /** The outcome of the tuple in a context, or -1. */
  find(context: number): number {
    const { addresses, ports, rest } = this;
    const records = this.#records;
    const mask = records.length - 1;
    for (let at = (hashOf(addresses, ports, rest, context) >>> this.#shift) * RECORD; ; at = (at + RECORD) & mask) {
      const last = records[at + 3] ?? 0;
      if (last === 0) return -1;
      if (
        ((records[at] ?? 0) ^ addresses) |
        ((records[at + 1] ?? 0) ^ ports) |
        ((records[at + 2] ?? 0) ^ rest) |
        ((last >>> 16) ^ context)
      ) {
        continue;
      }
      return (last & 0xffff) - 1;
    }
  }

  /** Enters what `find` did not find: context << 16 | 1 + outcome. */
  add(word: number): void {
    if ((this.#size + 1) * 2 * RECORD > this.#records.length) this.#grow();
    this.#size++;
    this.#put(this.addresses, this.ports, this.rest, word);
  }

  clear(): void {
    this.#records = new Int32Array(RECORD << FIRST_BITS);
    this.#shift = 32 - FIRST_BITS;
    this.#size = 0;
  }

  #put(addresses: number, ports: number, rest: number, word: number): void {
    const records = this.#records;
    const mask = records.length - 1;
    let at = (hashOf(addresses, ports, rest, word >>> 16) >>> this.#shift) * RECORD;
    while (records[at + 3] !== 0) at = (at + RECORD) & mask;
    records[at] = addresses;
    records[at + 1] = ports;
    records[at + 2] = rest;
    records[at + 3] = word;
  }

  #grow(): void {
    const old = this.#records;
    if (this.#shift === 32 - MOST_BITS) {
      this.clear();
      return;
    }
    this.#shift--;
    this.#records = new Int32Array(old.length * 2);
    for (let at = 0; at < old.length; at += RECORD) {
      const word = old[at + 3] ?? 0;
      if (word !== 0) this.#put(old[at] ?? 0, old[at + 1] ?? 0, old[at + 2] ?? 0, word);
    }
  }
}

function hashOf(addresses: number, ports: number, rest: number, context: number): number {
  const sum =
    Math.imul(addresses, 0x9e3779b1) + Math.imul(ports, 0x85ebca6b) + Math.imul(rest ^ (context << 16), 0xc2b2ae35);
  const folded = sum | 0;
  return Math.imul(folded ^ (folded >>> 15), 0x9e3779b1);
}
