import fc from "fast-check";
import { expect, it } from "vitest";
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
