import fc from "fast-check";
import { LRUCache } from "lru-cache";
import { expect, it } from "vitest";
import { LRUCache as OfPage } from "../../web/leastRecent.ts";
import { runsOf } from "../extent.ts";

it("the page's memo keeps and forgets what the package does", () => {
  const step = fc.tuple(fc.constantFrom("a", "b", "c", "d", "e"), fc.option(fc.string({ maxLength: 2 })));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 30 }), (max, steps) => {
      const [package_, own] = [new LRUCache<string, string>({ max }), new OfPage<string, string>({ max })];
      for (const [key, value] of steps) {
        if (value === null) expect(own.get(key)).toBe(package_.get(key));
        else {
          package_.set(key, value);
          own.set(key, value);
        }
      }
    }),
    { numRuns: runsOf(500) },
  );
});
