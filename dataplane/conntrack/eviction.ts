/**
 * What happens when the table is full: room is made at the cost of entries that were never answered properly.
 *
 * The kernel looks into eight of its buckets, from the one that the new tuple hashes to, and empties the first that holds
 * entries which are not assured (early_drop in nf_conntrack_core.c). If there is none, the packet is dropped, and the next
 * run of the garbage collector also takes entries that are closing, as long as 95 % of the table is in use.
 *
 * Inexact by nature: the kernel's hash is keyed with a random number, so nobody can tell which entries share a bucket.
 * Buckets here are ranges of our hash. An entry lies in one of them and not, as there, in two (one for each direction); so
 * they are twice as wide, and a bucket holds as many entries as there. The garbage collector runs once a minute here; the
 * kernel's interval moves between one second and one minute.
 */
import { PROTOCOL } from "../packet.ts";
import { BYTE, FLOW_BYTES, FLOW_WORDS, STATUS, WORD } from "./flow.ts";
import type { FlowIndex } from "./flowIndex.ts";
import type { FlowStore } from "./flowStore.ts";
import { isShuttingDown } from "./sctp.ts";
import { isClosing } from "./tcp.ts";

/** NF_CT_EVICTION_RANGE. */
const BUCKETS_SEARCHED = 8;

const HASHES = 2 ** 32;

export interface EvictionGrounds {
  readonly store: FlowStore;
  readonly index: FlowIndex;
  /** As the kernel counts them. */
  readonly buckets: number;
}

/** The entries that make room for a tuple with that hash; none if the packet has to go. */
export function earlyDropVictims(grounds: EvictionGrounds, hash: number): number[] {
  const { index, store } = grounds;
  const buckets = Math.max(1, grounds.buckets >>> 1);
  const width = HASHES / buckets;
  const first = Math.floor((hash >>> 0) / width);
  for (let step = 0; step < Math.min(BUCKETS_SEARCHED, buckets); step++) {
    const bucket = (first + step) % buckets;
    const slots = index.slotsBetween(Math.ceil(bucket * width), Math.min(HASHES, Math.ceil((bucket + 1) * width)));
    const victims = slots.filter((slot) => !isAssured(store, slot));
    if (victims.length > 0) return victims;
  }
  return [];
}

/** All entries that the garbage collector takes under pressure, in the order it comes across them. */
export function pressureVictims({ index, store }: EvictionGrounds): number[] {
  return index.slotsBetween(0, HASHES).filter((slot) => !isAssured(store, slot) || isEnding(store, slot));
}

/** Entries above which there is pressure (nf_conntrack_max95); 0: there never is, as the kernel's integers have it. */
export function pressureLevel(maxEntries: number): number {
  return Math.floor(maxEntries / 100) * 95;
}

function isAssured(store: FlowStore, slot: number): boolean {
  return ((store.bytes[slot * FLOW_BYTES + BYTE.status] ?? 0) & STATUS.assured) !== 0;
}

function isEnding(store: FlowStore, slot: number): boolean {
  const state = store.bytes[slot * FLOW_BYTES + BYTE.state] ?? 0;
  switch ((store.words[slot * FLOW_WORDS + WORD.kind] ?? 0) & 0xff) {
    case PROTOCOL.tcp:
      return isClosing(state);
    case PROTOCOL.sctp:
      return isShuttingDown(state);
    default:
      return false;
  }
}
