import fc from "fast-check";
import { expect, it } from "vitest";
import { Random } from "../../bench/workloads/random.ts";
import { maskWord } from "../../dataplane/address.ts";
import { AddressCuts, YES } from "../../dataplane/classes/addressClasses.ts";
import { runsOf } from "../extent.ts";

/** Words that differ in few places, so that prefixes nest. */
const word = fc.constantFrom(0, 1, 0x0a01_0000, 0x0a01_0203, 0x0a01_8000, -0x8000_0000, -1);
const length = fc.constantFrom(0, 1, 8, 16, 17, 31, 32);
const prefix = fc.record({ word, length, answer: fc.constantFrom(YES, YES, 2) });

it("classes of addresses tell what the longest prefix of each question answers, and part what answers part", () => {
  const questions = fc.array(fc.array(prefix, { maxLength: 5 }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(questions, fc.array(word, { minLength: 2, maxLength: 8 }), (asked, words) => {
      const cuts = new AddressCuts(4);
      for (const [question, prefixes] of asked.entries()) {
        for (const { word, length, answer } of prefixes) cuts.answer({ words: [word], length }, question, answer);
      }
      const classes = cuts.classes(asked.length);
      const { answers } = classes;
      if (answers === undefined) throw new Error("nothing is told");
      const told = words.map((address) => {
        const start = classes.of4(address) * answers.stride;
        return asked.map((_, question) => ((answers.words[start + (question >>> 5)] ?? 0) >>> (question & 31)) & 1);
      });
      const expected = words.map((address) =>
        asked.map((prefixes) => {
          const around = prefixes.filter(({ word, length }) => ((word ^ address) & maskWord(length)) === 0);
          const longest = Math.max(...around.map((one) => one.length));
          // Of two answers within one prefix the last one given stays.
          return Number(around.findLast((one) => one.length === longest)?.answer === YES);
        }),
      );
      expect(told).toEqual(expected);
    }),
    { numRuns: runsOf(400) },
  );
});

it("classes of IPv4 addresses are those of the longest prefix, with room for all in the trie or without", () => {
  const random = new Random(5);
  const cuts = new AddressCuts(4);
  const plain = new Map<string, number>();
  const enter = (address: number, length: number) => {
    const masked = address & maskWord(length);
    cuts.cut({ words: [masked], length });
    const key = `${masked} ${length}`;
    if (!plain.has(key)) plain.set(key, plain.size);
  };
  const longest = (address: number) => {
    for (let length = 32; length >= 0; length--) {
      const found = plain.get(`${address & maskWord(length)} ${length}`);
      if (found !== undefined) return found;
    }
    return -1;
  };
  // So many blocks of 256 that they do not fit (addressTrie.ts); asked before that happens, and after.
  const addresses: number[] = [];
  for (const count of [300, 8_000]) {
    for (let number = 0; number < count; number++) {
      const address = random.below(0x1_0000_0000) | 0;
      enter(address, random.pick([3, 9, 16, 17, 20, 24, 25, 31, 32, 32, 32]));
      addresses.push(address, address ^ 1, address ^ 0x80, address ^ 0x1_0000);
    }
    const classes = cuts.classes();
    const byPrefix = new Map<number, number>();
    const wrong = addresses.filter((address) => {
      const found = classes.of4(address);
      const prefix = longest(address);
      const known = byPrefix.get(prefix) ?? found;
      byPrefix.set(prefix, known);
      return known !== found || classes.of4(address) !== found;
    });
    expect(wrong).toEqual([]);
    // Each prefix is cut out for itself, so each is a class.
    expect(new Set(byPrefix.values()).size).toBe(byPrefix.size);
  }
});
