import fc from "fast-check";
import { expect, test } from "vitest";
import { cidrContains, cidrOf, formatAddress, type IpAddress } from "../../dataplane/address.ts";
import { addressText, liesIn, sameAddress } from "../../reference/addresses.ts";

const word = fc.oneof(fc.constantFrom(0, -1, 1, -2_147_483_648), fc.integer());
const addressArbitrary: fc.Arbitrary<IpAddress> = fc.oneof(
  word.map((one): IpAddress => ({ family: 4, words: [one] })),
  fc.tuple(word, word, word, word).map((words): IpAddress => ({ family: 6, words })),
);

test("two ways to ask whether an address lies in a block agree: as numbers and under a mask", () => {
  fc.assert(
    fc.property(addressArbitrary, addressArbitrary, fc.nat({ max: 128 }), (address, other, length) => {
      for (const inside of [address, other]) {
        const block = cidrOf(inside, Math.min(length, inside.family === 4 ? 32 : 128));
        expect(liesIn(address, block)).toBe(cidrContains(block, address));
        expect(liesIn(inside, block)).toBe(true);
      }
    }),
  );
});

test("equal addresses are of one family and have equal text", () => {
  fc.assert(
    fc.property(addressArbitrary, addressArbitrary, (a, b) => {
      expect(sameAddress(a, a)).toBe(true);
      expect(sameAddress(a, b)).toBe(addressText(a) === addressText(b));
    }),
  );
});

test("addresses read as the rest of the program writes them", () => {
  const mapped = (address: IpAddress) =>
    address.words[0] === 0 && address.words[1] === 0 && address.words[2] === 0xffff;
  fc.assert(
    fc.property(addressArbitrary, (address) => {
      fc.pre(!mapped(address)); // inet_ntop(3) writes these with a dotted quad, the reference does not
      expect(addressText(address)).toBe(formatAddress(address));
    }),
  );
});
