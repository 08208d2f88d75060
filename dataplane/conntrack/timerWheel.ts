/**
 * Finds the entries whose time is up without looking at the others.
 *
 * Every packet moves its entry's deadline, so a sorted structure would be re-sorted for every packet. Instead an entry
 * hangs in a slot of a hierarchical timer wheel (Varghese and Lauck 1987, scheme 7; as linux/kernel/time/timer.c once
 * was) that will be visited *not after* its deadline. Moving the deadline later touches nothing here: the visit finds that
 * there is time left and hangs the entry where it now belongs. Only an earlier deadline (a FIN after five days' grace)
 * unhooks it at once. So an entry is touched once for every visit, at most a handful of times in its life, however
 * many packets it saw.
 *
 * ```
 *   seconds      256 slots of 1 s             the next 4 minutes
 *   minutes      256 slots of 256 s           the next 18 hours
 *   days          64 slots of 65,536 s        the next 48 days, more than any timeout
 * ```
 *
 * Exactness does not hang on it: whoever finds an entry compares its deadline with the time. The wheel only gives the
 * memory back, up to a second late.
 */
import { FLOW_WORDS, WORD } from "./flow.ts";
import { type FlowStore, NONE } from "./flowStore.ts";

const LEVEL_BITS = 8;
const SLOTS = 1 << LEVEL_BITS;
const SLOT_MASK = SLOTS - 1;
const DAY_SLOTS = 64;
/** First slot of each level. */
const MINUTES = SLOTS;
const DAYS = 2 * SLOTS;
const HEADS = DAYS + DAY_SLOTS;
/** A leap over more seconds re-hangs everything instead of walking slot by slot. */
const LEAP_SECONDS = 1 << (2 * LEVEL_BITS);

export interface TimerWheelState {
  readonly heads: Int32Array;
  readonly milliseconds: number;
  readonly second: number;
}

export class TimerWheel {
  readonly #store: FlowStore;
  readonly #expire: (slot: number) => void;
  readonly #heads = new Int32Array(HEADS).fill(NONE);
  /** Present time in milliseconds, and the second whose slot is the next to be emptied. Neither wraps. */
  #milliseconds = 0;
  #second = 0;

  /** `expire` is called for each entry whose deadline has passed, already taken out of the wheel. */
  constructor(store: FlowStore, expire: (slot: number) => void) {
    this.#store = store;
    this.#expire = expire;
  }

  /** A copy of everything that is not in the store, to go on from later. */
  save(): TimerWheelState {
    return { heads: this.#heads.slice(), milliseconds: this.#milliseconds, second: this.#second };
  }

  restore({ heads, milliseconds, second }: TimerWheelState): void {
    this.#heads.set(heads);
    this.#milliseconds = milliseconds;
    this.#second = second;
  }

  /** Starts with nothing in the wheel, at that time. */
  start(milliseconds: number): void {
    this.#heads.fill(NONE);
    this.#milliseconds = milliseconds;
    this.#second = Math.floor(milliseconds / 1000);
  }

  /** Hangs up an entry by its deadline, which must not lie more than 2^31 ms ahead. */
  hang(slot: number): void {
    const { words } = this.#store;
    const at = slot * FLOW_WORDS;
    const left = ((words[at + WORD.deadline] ?? 0) - (this.#milliseconds | 0)) | 0;
    const second = Math.max(this.#second, Math.floor((this.#milliseconds + left) / 1000));
    const ahead = second - this.#second;
    let head: number;
    let visit = second;
    if (ahead < SLOTS) {
      head = second & SLOT_MASK;
    } else if (ahead < LEAP_SECONDS) {
      head = MINUTES + (Math.floor(second / SLOTS) & SLOT_MASK);
      visit = second - (second % SLOTS);
    } else {
      head = DAYS + (Math.floor(second / LEAP_SECONDS) % DAY_SLOTS);
      visit = second - (second % LEAP_SECONDS);
    }
    words[at + WORD.visit] = (visit * 1000) | 0;
    const next = this.#heads[head] ?? NONE;
    words[at + WORD.next] = next;
    words[at + WORD.previous] = -2 - head; // the first of a slot points back at the head
    if (next !== NONE) words[next * FLOW_WORDS + WORD.previous] = slot;
    this.#heads[head] = slot;
  }

  unhook(slot: number): void {
    const { words } = this.#store;
    const next = words[slot * FLOW_WORDS + WORD.next] ?? NONE;
    const previous = words[slot * FLOW_WORDS + WORD.previous] ?? NONE;
    if (previous < NONE) this.#heads[-2 - previous] = next;
    else words[previous * FLOW_WORDS + WORD.next] = next;
    if (next !== NONE) words[next * FLOW_WORDS + WORD.previous] = previous;
  }

  /** Lets the time become `milliseconds` and expires what is due by the start of that second. */
  advance(milliseconds: number): void {
    const before = this.#milliseconds;
    this.#milliseconds = milliseconds;
    const target = Math.floor(milliseconds / 1000);
    if (target - this.#second > LEAP_SECONDS) {
      this.#second = target;
      for (let head = 0; head < HEADS; head++) this.#visit(head, before);
      return;
    }
    while (this.#second < target) {
      const due = this.#second & SLOT_MASK;
      this.#second++;
      this.#visit(due);
      if ((this.#second & SLOT_MASK) !== 0) continue;
      if (this.#second % LEAP_SECONDS === 0) this.#visit(DAYS + ((this.#second / LEAP_SECONDS) % DAY_SLOTS));
      this.#visit(MINUTES + (Math.floor(this.#second / SLOTS) & SLOT_MASK));
    }
  }

  /** Expires what is due within the present second, too. */
  sweepSecond(): void {
    this.#visit(this.#second & SLOT_MASK);
  }

  /**
   * Empties a slot: what is due goes, the rest hangs where it belongs now. Deadlines wrap, so they are told by what was left
   * `before`, when none was further than 2^31 ms away: after a leap of weeks that cannot be said of the present.
   */
  #visit(head: number, before = this.#milliseconds): void {
    let slot = this.#heads[head] ?? NONE;
    this.#heads[head] = NONE;
    const passed = this.#milliseconds - before;
    const then = before | 0;
    while (slot !== NONE) {
      const { words } = this.#store;
      const at = slot * FLOW_WORDS;
      const next = words[at + WORD.next] ?? NONE;
      if ((((words[at + WORD.deadline] ?? 0) - then) | 0) <= passed) this.#expire(slot);
      else this.hang(slot);
      slot = next;
    }
  }
}
