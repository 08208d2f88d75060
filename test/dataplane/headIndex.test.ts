/** The index of long chains against going through them. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { HEAD_WORDS, HeadIndex, holds } from "../../dataplane/tables/headIndex.ts";

const address = fc.constantFrom(0x0a010101, 0x0a010102, 0x0a010201, -1, 0);
const field = fc.oneof(
  fc.constant([0, 0] as const),
  address.map((word) => [-1, word] as const),
  address.map((word) => [-256, word & -256] as const),
);
const protocol = fc.constantFrom([0, 0] as const, [0xff, 6] as const, [0xff, 17] as const);
const rule = fc.tuple(field, field, protocol).map((fields) => fields.flat());
/** Half of the chains are long enough to be indexed. */
const chains = fc.array(fc.oneof(fc.array(rule, { maxLength: 6 }), fc.array(rule, { minLength: 32, maxLength: 60 })), {
  minLength: 1,
  maxLength: 4,
});

it("the next rule whose head holds is the one that going through them finds", () => {
  let skipped = 0;
  fc.assert(
    fc.property(chains, fc.array(fc.tuple(address, address, fc.constantFrom(6, 17))), (drawn, packets) => {
      const heads = Int32Array.from(
        drawn.flatMap((rules) => [...rules, [0, 0, 0, 0, 0, 0]].flatMap((head) => [...head, 0, 0])),
      );
      let start = 0;
      const places = drawn.map((rules) => {
        const place = { start, rules: rules.map(() => ({ matches: [] })) };
        start += rules.length + 1;
        return place;
      });
      const index = new HeadIndex(heads, places);
      for (const [source, destination, number] of packets) {
        index.forget();
        for (let slot = 0; slot < heads.length / HEAD_WORDS; slot++) {
          let expected = slot;
          while (!holds(heads, expected, source, destination, number)) expected++;
          expect(index.next(slot, source, destination, number)).toBe(expected);
          skipped += expected - slot;
        }
      }
    }),
  );
  expect(skipped).toBeGreaterThan(1_000);
});
