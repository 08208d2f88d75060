import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConntrackTable } from "../../dataplane/conntrack.ts";
import { createBatch, PROTOCOL } from "../../dataplane/packet.ts";
import { expectTranscript } from "./connectionTranscript.ts";
import { TCP_TRANSCRIPTS } from "./tcpTranscripts.ts";

describe("TCP", () => {
  it.each(TCP_TRANSCRIPTS)("$name", ({ text, options }) => {
    expectTranscript(text, options);
  });

  it.each(TCP_TRANSCRIPTS)("over IPv6: $name", ({ text, options }) => {
    expectTranscript(text, { ...options, family: 6 });
  });

  it("that is dropped at once is what would have been new", () => {
    const batch = createBatch(1);
    batch.family[0] = 4;
    batch.protocol[0] = PROTOCOL.tcp;
    batch.destination0[0] = 1;
    const count = { dropped: 0, left: 0 };
    const number = fc.constantFrom(0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff);
    const segment = fc.record({
      tcpFlags: fc.nat(0xff),
      window: fc.constantFrom(0, 1, 0xffff),
      windowScale: fc.nat(20),
      payloadBytes: fc.constantFrom(0, 1, 0xffff),
      sequence: number,
      acknowledgment: number,
    });
    fc.assert(
      fc.property(segment, fc.boolean(), (columns, tcpLoose) => {
        for (const [name, value] of Object.entries(columns)) batch[name as keyof typeof columns][0] = value;
        const [dropping, asking] = [new ConntrackTable({ tcpLoose }), new ConntrackTable({ tcpLoose })];
        dropping.recall(batch, 0);
        const isDropped = dropping.dropRecalled(batch, 0);
        if (isDropped) expect([asking.lookup(batch, 0), asking.isPending]).toEqual(["new", true]);
        expect(dropping.size).toBe(0);
        count[isDropped ? "dropped" : "left"]++;
      }),
      { numRuns: 1_000 },
    );
    expect(Math.min(count.dropped, count.left)).toBeGreaterThan(50);
  });
});
