import fc from "fast-check";
import { describe, expect, it } from "vitest";
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

  it("is empty after clear, and grows again", () => {
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
      map.clear();
      expect([map.size, map.find(Int32Array.of(65_536))]).toEqual([0, -1]);
    }
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
