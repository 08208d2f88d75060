import fc from "fast-check";
import { expect, test } from "vitest";
import { boxesOf, type Tuple } from "../../verify/boxes.ts";

const tuples = fc.uniqueArray(fc.record({ source: fc.nat(3), destination: fc.nat(3), service: fc.nat(3) }), {
  selector: textOf,
  maxLength: 64,
  size: "max",
});

function textOf({ source, destination, service }: Tuple): string {
  return `${source} ${destination} ${service}`;
}

function tuplesOf(boxes: ReturnType<typeof boxesOf>): readonly string[] {
  return boxes.flatMap(({ sources, destinations, services }) =>
    sources.flatMap((source) =>
      destinations.flatMap((destination) => services.map((service) => textOf({ source, destination, service }))),
    ),
  );
}

test("boxes hold every tuple exactly once, and nothing else", () => {
  fc.assert(
    fc.property(tuples, (list) => {
      expect([...tuplesOf(boxesOf(list))].sort()).toEqual(list.map(textOf).sort());
    }),
  );
});

test("no two boxes differ in one axis only", () => {
  fc.assert(
    fc.property(tuples, (list) => {
      const boxes = boxesOf(list);
      for (const [index, a] of boxes.entries()) {
        for (const b of boxes.slice(index + 1)) {
          const equal = [
            a.sources.join() === b.sources.join(),
            a.destinations.join() === b.destinations.join(),
            a.services.join() === b.services.join(),
          ].filter((same) => same);
          expect(equal.length).toBeLessThan(2);
        }
      }
    }),
  );
});

test("the largest box comes first", () => {
  const boxes = boxesOf([
    { source: 9, destination: 9, service: 9 },
    { source: 0, destination: 1, service: 0 },
    { source: 0, destination: 2, service: 0 },
  ]);
  expect(boxes).toEqual([
    { sources: [0], destinations: [1, 2], services: [0] },
    { sources: [9], destinations: [9], services: [9] },
  ]);
});
