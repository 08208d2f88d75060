/** The index of long chains against going through them. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { DeviceTable } from "../../dataplane/devices.ts";
import type { Match } from "../../dataplane/program.ts";
import { HEAD_WORDS, HeadIndex, holds } from "../../dataplane/tables/headIndex.ts";

const address = fc.constantFrom(0x0a010101, 0x0a010102, 0x0a010201, -1, 0);
const field = fc.oneof(
  fc.constant([0, 0] as const),
  address.map((word) => [-1, word] as const),
  address.map((word) => [-256, word & -256] as const),
);
const protocol = fc.constantFrom([0, 0] as const, [0xff, 6] as const, [0xff, 17] as const);
const interfaceMatch = fc.record({
  kind: fc.constant("interface" as const),
  side: fc.constantFrom("in" as const, "out" as const),
  name: fc.constantFrom("eth0", "cali1", "cali2", "cali+"),
  negate: fc.boolean(),
});
const rule = fc
  .tuple(field, field, protocol, fc.array(interfaceMatch, { maxLength: 2 }))
  .map(([source, destination, number, matches]) => ({ head: [...source, ...destination, ...number], matches }));
/** Half of the chains are long enough to be indexed. */
const chains = fc.array(fc.oneof(fc.array(rule, { maxLength: 6 }), fc.array(rule, { minLength: 32, maxLength: 60 })), {
  minLength: 1,
  maxLength: 4,
});

const DEVICES = ["", "eth0", "cali1", "cali2", "lo"];

/** By the text of the pattern, not by the table's numbers. */
function answers(
  { side, name, negate }: Extract<Match, { kind: "interface" }>,
  [entry, exit]: readonly [string, string],
) {
  const device = side === "in" ? entry : exit;
  return (name.endsWith("+") ? device.startsWith(name.slice(0, -1)) : device === name) !== negate;
}

it("the next rule that may hold is not before that which going through them finds, nor behind one that holds", () => {
  let skipped = 0;
  let byDevice = 0;
  const device = fc.constantFrom(...DEVICES);
  const packet = fc.tuple(address, address, fc.constantFrom(6, 17), fc.tuple(device, device));
  fc.assert(
    fc.property(chains, fc.array(packet, { maxLength: 6 }), (drawn, packets) => {
      const ended = drawn.map((rules) => [...rules, { head: [0, 0, 0, 0, 0, 0], matches: [] }]);
      const heads = Int32Array.from(ended.flatMap((rules) => rules.flatMap(({ head }) => [...head, 0, 0])));
      const matchesOf = ended.flat().map(({ matches }) => matches);
      let start = 0;
      const places = drawn.map((rules) => {
        const place = { start, rules };
        start += rules.length + 1;
        return place;
      });
      const devices = new DeviceTable();
      devices.number("eth0");
      const index = new HeadIndex(heads, places, devices);
      for (const [headSource, headDestination, number, names] of packets) {
        const [inDevice, outDevice] = [devices.number(names[0]), devices.number(names[1])];
        const seen = { headSource, headDestination, protocol: number, inDevice, outDevice };
        index.forget();
        for (let slot = 0; slot < heads.length / HEAD_WORDS; slot++) {
          let byHead = slot;
          while (!holds(heads, byHead, seen)) byHead++;
          let expected = byHead;
          while (!holds(heads, expected, seen) || !matchesOf[expected]?.every((match) => answers(match, names)))
            expected++;
          const found = index.next(slot, seen);
          expect(found).toBeGreaterThanOrEqual(byHead);
          expect(found).toBeLessThanOrEqual(expected);
          expect(holds(heads, found, seen)).toBe(true);
          skipped += found - slot;
          byDevice += found - byHead;
        }
      }
    }),
  );
  expect(skipped).toBeGreaterThan(1_000);
  expect(byDevice).toBeGreaterThan(100);
});
