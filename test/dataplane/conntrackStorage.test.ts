/** The structures under the connection table, each beside the obvious way to do it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FLOW_WORDS, WORD } from "../../dataplane/conntrack/flow.ts";
import { FlowIndex } from "../../dataplane/conntrack/flowIndex.ts";
import { FlowStore, isInUse, isIpv6, kindOf, NONE } from "../../dataplane/conntrack/flowStore.ts";
import { TimerWheel } from "../../dataplane/conntrack/timerWheel.ts";
import { PacketTuple } from "../../dataplane/conntrack/tuple.ts";
import { PROTOCOL } from "../../dataplane/packet.ts";
import { runsOf } from "../extent.ts";

describe("the index", () => {
  /** Few hashes, close to each other and to both ends, so that runs form, wrap and break. */
  const hashes = fc.oneof(
    fc.constantFrom(0, 1, 2, 0x02000000, 0x03ffffff, 0x7fffffff, 0xfdffffff, 0xfe000000, 0xfffffffe, 0xffffffff),
    fc.integer({ min: 0, max: 0xffffffff }),
  );
  const operations = fc.array(fc.record({ isInsert: fc.boolean(), hash: hashes, victim: fc.nat() }), {
    maxLength: 400,
  });

  /** Words for the places of so many. */
  const ROOM = 4_096;

  function slotsUnder(index: FlowIndex, hash: number): number[] {
    const found: number[] = [];
    for (let place = hash >>> index.shift; index.places[place * 2 + 1] !== 0; place = (place + 1) & index.mask) {
      if (index.places[place * 2] === (hash | 0)) found.push((index.places[place * 2 + 1] ?? 0) - 1);
    }
    return found;
  }

  it("finds what a list finds, whatever was inserted and removed", () => {
    fc.assert(
      fc.property(operations, fc.integer({ min: -1, max: 300 }), (list, moveAt) => {
        const index = new FlowIndex();
        const model: { hash: number; slot: number }[] = [];
        let slot = 0;
        for (const [step, { isInsert, hash, victim }] of list.entries()) {
          if (step === moveAt) index.moveTo(new Int32Array(ROOM));
          if (isInsert || model.length === 0) {
            index.insert(hash | 0, slot);
            model.push({ hash, slot: slot++ });
          } else {
            const [gone] = model.splice(victim % model.length, 1);
            if (gone !== undefined) index.remove(gone.hash | 0, gone.slot);
          }
        }
        for (const { hash, slot: expected } of model) expect(slotsUnder(index, hash)).toContain(expected);
        expect(index.slotsBetween(0, 2 ** 32).sort((a, b) => a - b)).toEqual(model.map((one) => one.slot));
      }),
    );
  });

  it("is empty again after it was cleared, in memory of its own and in memory that was given to it", () => {
    for (const isGiven of [false, true]) {
      const index = new FlowIndex();
      if (isGiven) index.moveTo(new Int32Array(ROOM));
      for (let slot = 0; slot < 300; slot++) index.insert(slot * 0x1234567, slot);
      const state = index.save();
      index.clear();
      expect(index.slotsBetween(0, 2 ** 32)).toEqual([]);
      for (let slot = 0; slot < 300; slot++) index.insert(slot, slot);
      index.restore(state);
      expect(slotsUnder(index, (7 * 0x1234567) | 0)).toEqual([7]);
      expect(index.slotsBetween(0, 2 ** 32)).toHaveLength(300);
    }
  });

  it("gives the slots of a range of hashes, and no others", () => {
    fc.assert(
      fc.property(fc.array(hashes, { maxLength: 200 }), hashes, hashes, (list, one, other) => {
        const index = new FlowIndex();
        for (const [slot, hash] of list.entries()) index.insert(hash | 0, slot);
        const [from, to] = [Math.min(one, other), Math.max(one, other) + 1];
        const expected = list.flatMap((hash, slot) => (hash >= from && hash < to ? [slot] : []));
        expect(index.slotsBetween(from, to).sort((a, b) => a - b)).toEqual(expected);
      }),
    );
  });

  it("refuses to remove what is not there", () => {
    const index = new FlowIndex();
    index.insert(5, 1);
    expect(() => index.remove(5, 2)).toThrow("slot 2 is not under hash 5");
  });
});

describe("the timer wheel", () => {
  /** From less than a second to beyond a turn of every level; 24 days is the most a deadline can say. */
  const spans = fc.oneof(
    fc.integer({ min: 1, max: 3000 }),
    fc.integer({ min: 200_000, max: 300_000 }),
    fc.integer({ min: 65_000_000, max: 70_000_000 }),
    fc.integer({ min: 1, max: 2_147_483_000 }),
  );
  /** Time leaps further than any deadline lies ahead, and beyond where milliseconds of 32 bits are the same again. */
  const waits = fc.oneof(
    { weight: 4, arbitrary: spans },
    { weight: 1, arbitrary: fc.integer({ min: 2 ** 31, max: 2 ** 34 }) },
  );
  const starts = fc.constantFrom(0, 255_000, 65_535_500, 2 ** 31 - 1000, 2 ** 32 - 500, 1_764_000_000_123);
  const steps = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant("add" as const), span: spans, pick: fc.nat() }),
      fc.record({ kind: fc.constant("move" as const), span: spans, pick: fc.nat() }),
      fc.record({ kind: fc.constant("remove" as const), span: spans, pick: fc.nat() }),
      fc.record({ kind: fc.constant("wait" as const), span: waits, pick: fc.nat() }),
    ),
    { maxLength: 120 },
  );

  it("expires what is due within a second, and nothing else", () => {
    fc.assert(
      fc.property(starts, steps, (start, list) => {
        const store = new FlowStore(1000);
        const deadlines = new Map<number, number>();
        let now = start;
        const wheel = new TimerWheel(store, (slot) => {
          expect(deadlines.get(slot), `slot ${slot} at ${now}`).toBeLessThanOrEqual(now);
          deadlines.delete(slot);
          store.release(slot);
        });
        wheel.start(start);
        const setDeadline = (slot: number, span: number) => {
          deadlines.set(slot, now + span);
          store.words[slot * FLOW_WORDS + WORD.deadline] = (now + span) | 0;
        };
        for (const { kind, span, pick } of list) {
          const slot = [...deadlines.keys()][pick % Math.max(1, deadlines.size)];
          if (kind === "wait") {
            now += span;
            wheel.advance(now);
            // What is left over is due within the present second, or later.
            for (const [left, deadline] of deadlines) {
              expect(deadline, `slot ${left} at ${now}`).toBeGreaterThanOrEqual(Math.floor(now / 1000) * 1000);
            }
          } else if (kind === "add") {
            const added = store.allocate();
            store.words[added * FLOW_WORDS + WORD.kind] = kindOf(6, 4, 0);
            setDeadline(added, span);
            wheel.hang(added);
          } else if (slot !== undefined && kind === "remove") {
            wheel.unhook(slot);
            deadlines.delete(slot);
            store.release(slot);
          } else if (slot !== undefined) {
            setDeadline(slot, span);
            const at = slot * FLOW_WORDS;
            const isEarlier = (((store.words[at + WORD.deadline] ?? 0) - (store.words[at + WORD.visit] ?? 0)) | 0) < 0;
            if (isEarlier) {
              wheel.unhook(slot);
              wheel.hang(slot);
            }
          }
        }
        wheel.sweepSecond();
        for (const deadline of deadlines.values()) expect(deadline).toBeGreaterThan(now);
        expect(store.live).toBe(deadlines.size);
      }),
      { numRuns: runsOf(300) },
    );
  });
});

describe("the store", () => {
  it("hands out each slot once, zeroed, and no more than it may", () => {
    const store = new FlowStore(3);
    const slots = [store.allocate(), store.allocate(), store.allocate()];
    expect(new Set(slots).size).toBe(3);
    expect(() => store.allocate()).toThrow("no room for more than 3");
    store.words[FLOW_WORDS + 9] = 7;
    store.release(1);
    expect(store.live).toBe(2);
    expect(store.allocate()).toBe(1);
    expect(store.words[FLOW_WORDS + 9]).toBe(0);
  });

  it("keeps its entries when it moves, and zeros what is cleared or restored in the memory given", () => {
    const store = new FlowStore(100);
    for (let slot = 0; slot < 80; slot++) store.words[store.allocate() * FLOW_WORDS + 9] = slot;
    store.moveTo(new Int32Array(100 * FLOW_WORDS));
    const state = store.save();
    expect([0, 79].map((slot) => store.words[slot * FLOW_WORDS + 9])).toEqual([0, 79]);
    expect(store.bytes[79 * FLOW_WORDS * 4 + 36]).toBe(79);
    store.clear();
    expect(store.words.some((word) => word !== 0)).toBe(false);
    for (let slot = 0; slot < 100; slot++) store.words[store.allocate() * FLOW_WORDS + 9] = 1_000;
    store.restore(state);
    expect(store.live).toBe(80);
    expect(store.words[79 * FLOW_WORDS + 9]).toBe(79);
    expect(store.words[80 * FLOW_WORDS + 9]).toBe(0);
  });

  it("uses the room of IPv6 addresses again", () => {
    const store = new FlowStore(2);
    const tuple = new PacketTuple();
    const at = (last: number) => ({ family: 6 as const, words: [1, 2, 3, last] });
    for (let last = 0; last < 50; last++) {
      tuple.loadTuple({ protocol: 17, source: at(last), destination: at(-1), sourcePort: 1, destinationPort: 2 });
      const slot = store.allocate();
      tuple.write(store, slot);
      const read = new PacketTuple();
      read.read(store, slot);
      expect(read).toEqual(tuple);
      store.release(slot);
    }
    expect(store.pairs.length).toBeLessThanOrEqual(2 * 64);
  });

  it("a free slot is of no kind", () => {
    expect(isInUse(0)).toBe(false);
    for (const family of [4, 6]) {
      expect(isInUse(kindOf(0, family, 0))).toBe(true);
      expect(isIpv6(kindOf(255, family, 65_535))).toBe(family === 6);
    }
  });
});

describe("the tuple", () => {
  const address4 = fc.integer().map((word) => ({ family: 4 as const, words: [word] }));
  const address6 = fc
    .tuple(fc.integer(), fc.integer(), fc.integer(), fc.integer())
    .map((words) => ({ family: 6 as const, words }));
  const ports = fc.integer({ min: 0, max: 0xffff });
  const ends = fc.oneof(fc.tuple(address4, address4), fc.tuple(address6, address6));

  it("is found from both ends and from no other", () => {
    fc.assert(
      fc.property(
        ends,
        ports,
        ports,
        fc.constantFrom(6, 17, 132, 50),
        ([source, destination], sourcePort, destinationPort, protocol) => {
          fc.pre(source.words.join() !== destination.words.join());
          const store = new FlowStore(10);
          const index = new FlowIndex();
          const tuple = new PacketTuple();
          const load = (change: object) =>
            tuple.loadTuple({ protocol, source, destination, sourcePort, destinationPort, ...change });
          load({});
          const slot = store.allocate();
          tuple.write(store, slot);
          index.insert(tuple.hash, slot);
          load({});
          expect([tuple.find(index, store), tuple.direction]).toEqual([slot, 0]);
          load({ source: destination, destination: source, sourcePort: destinationPort, destinationPort: sourcePort });
          expect([tuple.find(index, store), tuple.direction]).toEqual([slot, 1]);
          load({ zone: 1 });
          expect(tuple.find(index, store)).toBe(NONE);
          load({ protocol: protocol === 6 ? 17 : 6 });
          expect(tuple.find(index, store)).toBe(NONE);
          load({ sourcePort: sourcePort ^ 1 });
          expect(tuple.find(index, store)).toBe(protocol === 50 ? slot : NONE);
          load({
            source: {
              ...source,
              words: source.words.map((word, at) => (at === source.words.length - 1 ? word ^ 1 : word)),
            },
          });
          expect(tuple.find(index, store)).toBe(NONE);
        },
      ),
    );
  });

  it("that is its own answer counts as the answer, as in the kernel's hash", () => {
    const store = new FlowStore(10);
    const index = new FlowIndex();
    const tuple = new PacketTuple();
    const end = { family: 4 as const, words: [0x0a000001] };
    const own = { protocol: PROTOCOL.udp, source: end, destination: end, sourcePort: 500, destinationPort: 500 };
    tuple.loadTuple(own);
    const slot = store.allocate();
    tuple.write(store, slot);
    index.insert(tuple.hash, slot);
    tuple.loadTuple(own);
    expect([tuple.find(index, store), tuple.direction]).toEqual([slot, 1]);
  });
});
