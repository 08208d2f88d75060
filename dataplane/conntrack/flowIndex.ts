/**
 * From a tuple's hash to the slot of its entry: open addressing with linear probing over pairs (hash, slot + 1).
 *
 * nf_conntrack puts an entry into its hash twice, once per direction, so that either packet finds it. Here the hash does
 * not tell the two ends apart (tuple.ts), so one place serves both directions and the index is half as large. The hash
 * is kept beside the slot: a probe reads the entry itself, in another cache line, only if all 32 bits agree.
 *
 * Invariant: at most half of the places are taken, and an entry lies between the place its hash names and the next empty
 * one. Deleting moves later entries of the run back, so there are no tombstones and churn costs nothing in the long run.
 *
 * A hash names its place by its high bits, as reciprocal_scale does in the kernel: the index is in the order of the
 * hashes, apart from collisions, and the kernel's buckets are ranges of it.
 */
import { NONE } from "./flowStore.ts";

const FIRST_BITS = 7;

export interface FlowIndexState {
  readonly places: Int32Array;
  readonly shift: number;
  readonly count: number;
}

export class FlowIndex {
  /** Two words a place: hash, slot + 1 (0: empty). */
  places: Int32Array = new Int32Array(2 << FIRST_BITS);
  /** The place of a hash is `hash >>> shift`. */
  shift = 32 - FIRST_BITS;
  /** Number of places minus 1. */
  mask = (1 << FIRST_BITS) - 1;
  #count = 0;
  /** Memory that was given for them; undefined: they have arrays of their own. */
  #room: Int32Array | undefined;

  /** Moves to memory that has room for more places. */
  moveTo(room: Int32Array): void {
    room.set(this.places);
    this.#room = room;
    this.places = room.subarray(0, this.places.length);
  }

  /** A copy of everything, to go on from later. */
  save(): FlowIndexState {
    return { places: this.places.slice(), shift: this.shift, count: this.#count };
  }

  restore({ places, shift, count }: FlowIndexState): void {
    this.places = this.#emptyPlaces(places.length);
    this.places.set(places);
    this.shift = shift;
    this.mask = places.length / 2 - 1;
    this.#count = count;
  }

  insert(hash: number, slot: number): void {
    if (this.#count * 2 >= this.mask) this.#grow();
    this.#count++;
    this.#put(hash, slot);
  }

  #put(hash: number, slot: number): void {
    const { places, mask } = this;
    let place = hash >>> this.shift;
    while (places[place * 2 + 1] !== 0) place = (place + 1) & mask;
    places[place * 2] = hash;
    places[place * 2 + 1] = slot + 1;
  }

  /** Takes `slot` out; its entry must be in the index under `hash`. */
  remove(hash: number, slot: number): void {
    const { places, mask, shift } = this;
    let hole = hash >>> shift;
    while (places[hole * 2 + 1] !== slot + 1) {
      if (places[hole * 2 + 1] === 0) throw new Error(`conntrack index: slot ${slot} is not under hash ${hash}`);
      hole = (hole + 1) & mask;
    }
    for (let place = (hole + 1) & mask; places[place * 2 + 1] !== 0; place = (place + 1) & mask) {
      const home = (places[place * 2] ?? 0) >>> shift;
      // May move back into the hole only if that is not before its home.
      if (((place - home) & mask) < ((place - hole) & mask)) continue;
      places[hole * 2] = places[place * 2] ?? 0;
      places[hole * 2 + 1] = places[place * 2 + 1] ?? 0;
      hole = place;
    }
    places[hole * 2 + 1] = 0;
    this.#count--;
  }

  clear(): void {
    // What is small is kept: who asks about single packets clears after each.
    if (this.places.length > 2 << FIRST_BITS) this.places = this.#emptyPlaces(2 << FIRST_BITS);
    else if (this.#count > 0) this.places.fill(0);
    this.shift = 32 - FIRST_BITS;
    this.mask = (1 << FIRST_BITS) - 1;
    this.#count = 0;
  }

  /** Slots whose hash, as an unsigned number, lies in `[from, to)`: a copy, so that they may be removed meanwhile. */
  slotsBetween(from: number, to: number): number[] {
    const { places, mask, shift } = this;
    const found: number[] = [];
    const first = from >>> shift;
    const reach = ((to - 1) >>> shift) - first;
    for (let step = 0; step <= mask; step++) {
      const place = (first + step) & mask;
      const slot = (places[place * 2 + 1] ?? 0) - 1;
      const hash = (places[place * 2] ?? 0) >>> 0;
      if (slot !== NONE && hash >= from && hash < to) found.push(slot);
      if (slot === NONE && step >= reach) break; // beyond a gap there is nothing that belongs before it
    }
    return found;
  }

  #emptyPlaces(words: number): Int32Array {
    if (this.#room !== undefined && this.#room.length < words) this.#room = undefined;
    return this.#room?.subarray(0, words).fill(0) ?? new Int32Array(words);
  }

  #grow(): void {
    const old = this.#room === undefined ? this.places : this.places.slice();
    this.places = this.#emptyPlaces(old.length * 2);
    this.mask = this.mask * 2 + 1;
    this.shift--;
    for (let at = 0; at < old.length; at += 2) {
      const slot = (old[at + 1] ?? 0) - 1;
      if (slot !== NONE) this.#put(old[at] ?? 0, slot);
    }
  }
}
