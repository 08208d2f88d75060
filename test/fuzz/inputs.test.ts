import { describe, expect, it } from "vitest";
import { mutateBytes } from "../../verify/fuzz/bytes.ts";
import { Coverage } from "../../verify/fuzz/coverage.ts";
import { FORMATS, type InputFormat } from "../../verify/fuzz/formats.ts";
import { InputTarget, leastInput, type Meter, tryInput } from "../../verify/fuzz/inputTarget.ts";
import { partsFrom } from "../../verify/fuzz/parts.ts";
import { Random } from "../../verify/kernel/random.ts";
import { isWhole } from "../extent.ts";

/** Processor time: the other tests of the run share the machine. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

const METER: Meter = { now: cpuMs, heapBytes: () => 0 };

function sourceOf(seed: number) {
  const random = new Random(seed);
  return { random, parts: partsFrom(random) };
}

/** Reads nothing, and behaves as told. */
function reader(read: InputFormat["read"]): InputFormat {
  return { name: "packets", extension: "txt", make: () => new Uint8Array(0), read };
}

const FINE = { rejections: [], features: [] };

describe.each(FORMATS)("$name", (format) => {
  it("is made in a form that its reader takes", async () => {
    const source = sourceOf(2);
    for (let count = 0; count < 4; count++) {
      expect(await tryInput(format, format.make(source), METER)).toMatchObject({ rejections: [] });
    }
  });

  it("is read, or rejected with a place, however it is broken", async () => {
    const rounds = isWhole ? 200 : 12;
    const target = new InputTarget({ format, source: sourceOf(3), coverage: new Coverage(), meter: METER });
    for (let count = 0; count < rounds; count++) {
      const events = await target.step();
      expect(events.filter(({ kind }) => kind === "input")).toEqual([]);
    }
  });
});

describe("a reader is caught", () => {
  const bytes = new TextEncoder().encode("some bytes with an x in them");
  const has = (input: Uint8Array) => new TextDecoder().decode(input).includes("x");

  it("when it throws, and the input is made small", async () => {
    const format = reader((input) => {
      if (has(input)) throw new TypeError("no x, please: 17");
      return FINE;
    });
    const tried = await tryInput(format, bytes, METER);
    if (!("misdeed" in tried)) throw new Error("not caught");
    expect(tried).toMatchObject({ misdeed: "throws", detail: "TypeError: no x, please: 17" });
    const least = await leastInput({ format, meter: METER }, bytes, tried);
    expect(new TextDecoder().decode(least.bytes)).toBe("x");
  });

  it("when it throws later", async () => {
    const format = reader(async () => {
      await Promise.resolve();
      throw new Error("late");
    });
    expect(await tryInput(format, bytes, METER)).toMatchObject({ misdeed: "throws", detail: "Error: late" });
  });

  it("when it is slow twice", async () => {
    let now = 0;
    const slow = reader(() => {
      now += 1500;
      return FINE;
    });
    const clock = { ...METER, now: () => now };
    expect(await tryInput(slow, bytes, clock)).toMatchObject({ misdeed: "takes too long" });
    let calls = 0;
    const once = reader(() => {
      now += calls++ === 0 ? 1500 : 1;
      return FINE;
    });
    expect(await tryInput(once, bytes, clock)).toEqual(FINE);
  });

  it("when it is stopped, unless it was hardly let work until then", async () => {
    const stopped = () => Object.assign(new Error("stopped"), { code: "ERR_SCRIPT_EXECUTION_TIMEOUT" });
    let now = 0;
    const clock = { ...METER, now: () => now };
    let starts = 0;
    const starved = reader(() => {
      if (starts++ === 0) throw stopped();
      return FINE;
    });
    expect(await tryInput(starved, bytes, clock)).toEqual(FINE);
    const busy = reader(() => {
      now += 1500;
      if (starts++ === 2) throw stopped();
      return FINE;
    });
    expect(await tryInput(busy, bytes, clock)).toMatchObject({ misdeed: "takes too long" });
    const hanging = reader(() => {
      throw stopped();
    });
    expect(await tryInput(hanging, bytes, clock)).toMatchObject({ misdeed: "takes too long" });
  });

  it("when it eats memory", async () => {
    let heap = 0;
    const greedy = reader(() => {
      heap += 1e9;
      return FINE;
    });
    expect(await tryInput(greedy, bytes, { ...METER, heapBytes: () => heap })).toMatchObject({
      misdeed: "eats memory",
    });
  });

  it("when it rejects and does not say where", async () => {
    const vague = reader(() => ({ rejections: [{ message: "bad", place: undefined }], features: [] }));
    expect(await tryInput(vague, bytes, METER)).toMatchObject({ misdeed: "rejects without a place" });
  });
});

describe("broken bytes", () => {
  it("are drawn by their seed, differ from what they were, and stay short", () => {
    const start = new TextEncoder().encode("line one\nline two\nline three\n".repeat(20));
    const drawn = (seed: number) => {
      const random = new Random(seed);
      let bytes: Uint8Array = start;
      return Array.from({ length: 60 }, () => {
        bytes = mutateBytes(bytes, random, ["word "]);
        return bytes;
      });
    };
    expect(drawn(5)).toEqual(drawn(5));
    expect(new Set(drawn(5).map((bytes) => bytes.join())).size).toBeGreaterThan(30);
    for (const bytes of drawn(6)) expect(bytes.length).toBeLessThanOrEqual(65_536);
  });
});
