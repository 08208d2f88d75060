/** The table of packets that begin a connection, against a map of strings. */
import { expect, it } from "vitest";
import { Random } from "../../bench/workloads/random.ts";
import { FirstPackets } from "../../dataplane/classes/firstPackets.ts";

it("finds what was entered under all of its words, and nothing else", () => {
  const table = new FirstPackets();
  const entered = new Map<number, number>();
  const random = new Random(3);
  let found = 0;
  let wrong = 0;
  for (let step = 0; step < 140_000; step++) {
    // Few values of each, and a table that is full to the half: tuples that differ in one word meet in their places.
    const [source, destination, ports, rest] = [random.below(6), random.below(6), random.below(20), random.below(4)];
    const context = 1 + random.below(100);
    table.addresses = (source << 16) | destination;
    table.ports = ports;
    table.rest = rest;
    const name = (((source * 6 + destination) * 20 + ports) * 4 + rest) * 101 + context;
    const known = entered.get(name);
    if (table.find(context) !== (known ?? -1)) wrong++;
    if (known !== undefined) found++;
    else {
      const outcome = random.below(0xfff0);
      table.add((context << 16) | (outcome + 1));
      entered.set(name, outcome);
    }
  }
  expect(wrong).toBe(0);
  expect(found).toBeGreaterThan(20_000);
  table.clear();
  expect(table.find(1)).toBe(-1);
});

it("forgets when there are too many, and goes on", () => {
  const table = new FirstPackets();
  const most = 1 << 17;
  for (let number = 0; number <= most; number++) {
    table.addresses = number;
    table.add((1 << 16) | 1);
  }
  table.addresses = most;
  expect(table.find(1)).toBe(0);
  table.addresses = 0;
  expect(table.find(1)).toBe(-1);
});
