/** The straight line for most segments against the tracker that it stands in for, entry by entry. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FLOW_WORDS, type Flow, OUTCOME, STATUS, WORD } from "../../dataplane/conntrack/flow.ts";
import { conntrackSettings, timeoutTable } from "../../dataplane/conntrack/options.ts";
import { trackTcp } from "../../dataplane/conntrack/tcp.ts";
import { HEAD_WORD, SIDES_WORD, TCP_STATE } from "../../dataplane/conntrack/tcpEntry.ts";
import { passSegment } from "../../dataplane/conntrack/tcpEstablished.ts";
import { createBatch } from "../../dataplane/packet.ts";

const settings = conntrackSettings();

const flowArbitrary = fc.record({
  base: fc.constantFrom(0, 1_000_000, 0x7fff_ff00, 0xffff_ff00),
  offsets: fc.array(fc.oneof(fc.integer({ min: -300, max: 300 }), fc.constant(0)), { minLength: 12, maxLength: 12 }),
  windows: fc.array(fc.constantFrom(0, 1, 500, 65_535, 65_535, 65_535, 1_000_000, 0x7fff_ffff, 0x8000_0000), {
    minLength: 2,
    maxLength: 2,
  }),
  status: fc.constantFrom(7, 7, 7, 7, STATUS.confirmed, STATUS.confirmed | STATUS.seenReply),
  state: fc.constantFrom(...Array.from({ length: 6 }, () => TCP_STATE.established as number), 2, 4, 7),
  last: fc.record({ segment: fc.nat(5), direction: fc.nat(1), retransmissions: fc.nat(4) }),
  sides: fc.record({ flags: fc.tuple(fc.nat(0x3f), fc.nat(0x3f)), scales: fc.tuple(fc.nat(14), fc.nat(14)) }),
  repeatsLast: fc.constantFrom(false, false, false, true),
});

const segmentArbitrary = fc.record({
  direction: fc.nat(1),
  flags: fc.constantFrom(0x10, 0x10, 0x10, 0x10, 0x18, 0x30, 0x11, 0x12, 0x04, 0x02, 0x00),
  window: fc.constantFrom(0, 1, 100, 65_535, 65_535, 65_535),
  sequence: fc.oneof(fc.integer({ min: -300, max: 300 }), fc.integer({ min: -70_000, max: 70_000 })),
  behind: fc.constantFrom(0, 300, 300, 600, 70_000),
  payloadBytes: fc.constantFrom(0, 0, 1, 100, 200),
  now: fc.integer({ min: -1_000, max: 1_000 }),
});

describe("the straight line for established segments", () => {
  it("does to an entry what the tracker does, or nothing", () => {
    const count = { passed: 0, left: 0 };
    fc.assert(
      fc.property(flowArbitrary, segmentArbitrary, (drawn, segment) => {
        const words = new Int32Array(FLOW_WORDS);
        const number = (index: number) => (drawn.base + (drawn.offsets[index] ?? 0)) | 0;
        const [first = 0, second = 0] = drawn.windows;
        words.set(
          [number(0), number(1) + 1_000, first | 0, number(2), number(3), number(4) + 1_000, second | 0, number(5)],
          8,
        );
        words.set([number(6), number(7), number(8), 65_535], 18);
        words[HEAD_WORD] =
          drawn.status | (drawn.state << 8) | (drawn.last.segment << 16) | (drawn.last.direction << 24);
        const { flags, scales } = drawn.sides;
        words[SIDES_WORD] = flags[0] | (scales[0] << 8) | (flags[1] << 16) | (scales[1] << 24);
        words[17] = drawn.last.retransmissions | 0x4000;
        words[WORD.deadline] = 5_000;

        const batch = createBatch(1);
        batch.tcpFlags[0] = segment.flags;
        batch.window[0] = segment.window;
        batch.payloadBytes[0] = segment.payloadBytes;
        batch.sequence[0] = drawn.repeatsLast ? (words[18] ?? 0) : drawn.base + segment.sequence;
        batch.acknowledgment[0] = drawn.repeatsLast ? (words[19] ?? 0) : number(9) - segment.behind;
        const flow = (copy: Int32Array): Flow => ({
          words: copy,
          bytes: new Uint8Array(copy.buffer),
          at: 0,
          direction: segment.direction,
          now: segment.now,
          timeouts: timeoutTable(settings.timeouts),
          settings,
          why: "",
        });
        const [quick, slow] = [words.slice(), words.slice()];
        if (!passSegment(flow(quick), batch, 0, { seconds: 0, until: 0 })) {
          expect(quick.join()).toBe(words.join());
          count.left++;
          return;
        }
        count.passed++;
        const tracked = flow(slow);
        expect(trackTcp(tracked, batch, 0)).toBe(OUTCOME.accept);
        expect(tracked.why).toBe("");
        expect(quick.join()).toBe(slow.join());
      }),
      { numRuns: 4_000 },
    );
    expect(count.passed).toBeGreaterThan(100);
    expect(count.left).toBeGreaterThan(400);
  });
});
