import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FLOW_RECORD, FlowTable, FlowTuple } from "../../dataplane/maps/flowTable.ts";
import { HashMap } from "../../dataplane/maps/hashMap.ts";
import { loadMap, wordsOf } from "../../dataplane/maps/loadedMap.ts";
import { LpmTrie } from "../../dataplane/maps/lpmTrie.ts";
import type { MapSpec } from "../../dataplane/program.ts";
import { runsOf } from "../extent.ts";

describe("a hash map", () => {
  const key = fc.tuple(fc.nat(7), fc.constantFrom(0, -1, 0x7fff_ffff));
  const operation = fc.record({ kind: fc.constantFrom("insert", "insert", "find", "delete"), key, value: fc.nat() });

  it("holds what a Map would, through insertions, overwriting and deletions", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
        const map = new HashMap({ keyWords: 2, valueWords: 1, maxEntries: 12, whenFull: "refuse" });
        const model = new Map<string, number>();
        for (const step of operations) {
          const words = Int32Array.from(step.key);
          const name = String(step.key);
          if (step.kind === "insert") {
            const at = map.insert(words);
            if (!model.has(name) && model.size === 12) expect(at).toBe(-1);
            else {
              map.words[at] = step.value;
              model.set(name, step.value);
            }
          }
          if (step.kind === "delete") expect(map.delete(words)).toBe(model.delete(name));
          const at = map.find(words);
          expect(at < 0 ? undefined : map.words[at]).toBe(model.get(name));
          expect(map.size).toBe(model.size);
        }
        for (const [name, value] of model) {
          const at = map.find(Int32Array.from(name.split(","), Number));
          expect(map.words[at]).toBe(value);
        }
      }),
      { numRuns: runsOf(500) },
    );
  });

  it("that evicts stays full and keeps what was used lately", () => {
    const map = new HashMap({ keyWords: 1, valueWords: 1, maxEntries: 100, whenFull: "evict" });
    for (let number = 0; number < 100; number++) map.words[map.insert(Int32Array.of(number))] = number;
    for (let number = 100; number < 1000; number++) {
      expect(map.find(Int32Array.of(7))).toBeGreaterThanOrEqual(0); // asked for all the time
      map.words[map.insert(Int32Array.of(number))] = number;
      expect(map.size).toBe(100);
    }
    expect(map.words[map.find(Int32Array.of(999))]).toBe(999);
    const old = Array.from({ length: 100 }, (_, number) => number).filter(
      (number) => map.find(Int32Array.of(number)) >= 0,
    );
    expect(old).toEqual([7]);
  });

  it("grows until it is full, and takes other values for the keys it has", () => {
    const map = new HashMap({ keyWords: 1, valueWords: 2, maxEntries: 10_000, whenFull: "refuse" });
    for (const round of [1, 2]) {
      for (let number = 0; number < 10_000; number++) {
        const at = map.insert(Int32Array.of(number * 65_536));
        map.words[at] = number;
        map.words[at + 1] = number + round;
      }
      expect(map.insert(Int32Array.of(1))).toBe(-1);
      for (let number = 0; number < 10_000; number++) {
        const at = map.find(Int32Array.of(number * 65_536));
        expect([map.words[at], map.words[at + 1]]).toEqual([number, number + round]);
      }
    }
  });
});

describe("a table of flows", () => {
  /** Few addresses and ports, so that tuples and their answers meet, and IPv6 addresses that differ in any word. */
  const end = fc.tuple(fc.nat(1), fc.nat(1), fc.nat(1), fc.nat(1), fc.constantFrom(1, 2, 0xffff));
  const step = fc.record({
    enters: fc.boolean(),
    head: fc.constantFrom(6, 0x1_0006),
    from: end,
    to: end,
    value: fc.nat(),
  });

  function tupleOf(family: 4 | 6, from: readonly number[], to: readonly number[]): FlowTuple {
    const tuple = new FlowTuple();
    [tuple.source0 = 0, tuple.source1 = 0, tuple.source2 = 0, tuple.source3 = 0] = from;
    [tuple.destination0 = 0, tuple.destination1 = 0, tuple.destination2 = 0, tuple.destination3 = 0] = to;
    tuple.setPorts(family, 6, from[4] ?? 0, to[4] ?? 0);
    return tuple;
  }

  it.each([4, 6] as const)("finds a tuple and its answer as a Map would, IPv%i", (family) => {
    const nameOf = (head: number, ...ends: readonly (readonly number[])[]) =>
      [head, ...ends.map((of) => (family === 4 ? [of[0], of[4]] : of))].join();
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const table = new FlowTable(family, 1_000);
        const model = new Map<string, number>();
        const valueAt = (at: number) => (at < 0 ? undefined : table.words[at + FLOW_RECORD.deadFrom]);
        for (const { enters, head, from, to, value } of steps) {
          const tuple = tupleOf(family, from, to);
          const other = head ^ 0x1_0000;
          table.look(tuple, head, other);
          expect(valueAt(table.straightAt)).toBe(model.get(nameOf(head, from, to)));
          expect(valueAt(table.turnedAt)).toBe(model.get(nameOf(other, to, from)));
          if (!enters) continue;
          const at = table.enter(tuple, head);
          table.words[at + FLOW_RECORD.deadFrom] = value;
          model.set(nameOf(head, from, to), value);
          expect(table.size).toBe(model.size);
        }
      }),
      { numRuns: runsOf(300) },
    );
  });

  it("that is full keeps what was used lately, and whatever it keeps is found", () => {
    const table = new FlowTable(4, 100);
    const tuple = (number: number) => tupleOf(4, [number * 65_536, 0, 0, 0, 1], [7, 0, 0, 0, 2]);
    const find = (number: number) => {
      table.look(tuple(number), 6, 6);
      return table.straightAt;
    };
    const enter = (number: number) => {
      find(number);
      const at = table.enter(tuple(number), 6);
      table.words[at + FLOW_RECORD.deadFrom] = number;
    };
    for (let number = 0; number < 100; number++) enter(number);
    for (let number = 100; number < 1_000; number++) {
      table.use(find(7)); // asked for all the time
      enter(number);
      expect(table.size).toBe(100);
    }
    const kept = Array.from({ length: 1_000 }, (_, number) => number).filter((number) => find(number) >= 0);
    expect(kept).toHaveLength(100);
    expect(kept.map((number) => table.words[find(number) + FLOW_RECORD.deadFrom])).toEqual(kept);
    expect(kept.slice(0, 2)).toEqual([7, expect.toSatisfy((second: number) => second > 100)]);
    table.clear();
    expect([table.size, find(999)]).toEqual([0, -1]);
  });
});

describe("a prefix trie", () => {
  /** Two words whose bits differ in few places, so that prefixes nest. */
  const data = fc.tuple(fc.constantFrom(0, -0x8000_0000, 0x4000_0001), fc.constantFrom(0, 1, -0x8000_0000));
  const length = fc.constantFrom(0, 1, 2, 31, 32, 33, 63, 64);
  const bits = (words: readonly number[]) => words.map((word) => (word >>> 0).toString(2).padStart(32, "0")).join("");

  it("finds the longest prefix that a list of all would, through updates and deletions", () => {
    const operation = fc.record({ kind: fc.constantFrom("update", "update", "delete"), data, length });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 30 }), fc.array(data), (operations, asked) => {
        const trie = new LpmTrie({ dataWords: 2, maxEntries: 8 });
        const model = new Map<string, number>();
        for (const [index, step] of operations.entries()) {
          const words = Int32Array.from(step.data);
          const prefix = bits(step.data).slice(0, step.length);
          if (step.kind === "delete") expect(trie.delete(step.length, words)).toBe(model.delete(prefix));
          else if (trie.update(step.length, words, index) === "updated") model.set(prefix, index);
          else expect([model.has(prefix), model.size]).toEqual([false, 8]);
          expect(trie.size).toBe(model.size);
        }
        for (const words of asked) {
          const covering = [...model.keys()].filter((prefix) => bits(words).startsWith(prefix));
          const longest = covering.sort((a, b) => b.length - a.length)[0];
          expect(trie.find(Int32Array.from(words))).toBe(longest === undefined ? -1 : model.get(longest));
        }
      }),
      { numRuns: runsOf(500) },
    );
  });
});

describe("a map of a program", () => {
  const spec = (more: Partial<MapSpec>): MapSpec => ({
    name: "m",
    type: "hash",
    keyBytes: 5,
    valueBytes: 1,
    maxEntries: 2,
    entries: [],
    ...more,
  });
  const entry = (...key: number[]) => ({ key: Uint8Array.from(key), value: Uint8Array.of(1) });

  it("answers with the entry of the key", () => {
    const map = loadMap(spec({ entries: [entry(1, 2, 3, 4, 5), entry(1, 2, 3, 4, 6)] }));
    expect(map.find(wordsOf(Uint8Array.of(1, 2, 3, 4, 6)))).toBe(1);
    expect(map.find(wordsOf(Uint8Array.of(1, 2, 3, 4, 7)))).toBe(-1);
  });

  it("does not load more than it holds, or keys of another length", () => {
    const three = [entry(1, 0, 0, 0, 1), entry(1, 0, 0, 0, 2), entry(1, 0, 0, 0, 3)];
    expect(() => loadMap(spec({ entries: three }))).toThrow("E2BIG");
    expect(() =>
      loadMap(spec({ type: "lpm-trie", entries: three.map(({ key, value }) => ({ key: key.with(0, 40), value })) })),
    ).toThrow(RangeError);
    const prefixes = [0, 1, 2].map((length) => entry(length, 0, 0, 0, 255));
    expect(() => loadMap(spec({ type: "lpm-trie", entries: prefixes }))).toThrow("ENOSPC");
    expect(() => loadMap(spec({ entries: [entry(1)] }))).toThrow("1 bytes");
    expect(loadMap(spec({ type: "lru-hash", entries: three })).find(wordsOf(three[2]?.key ?? new Uint8Array()))).toBe(
      2,
    );
  });
});
