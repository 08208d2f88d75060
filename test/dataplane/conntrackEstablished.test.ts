/** The straight line for most segments, in JavaScript and in WebAssembly, against the tracker that it stands in for, entry by entry. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OUTCOME as OUTCOME_WORD, OUTCOME_WORDS } from "../../dataplane/classes/outcomes.ts";
import { EstablishedLoops, type EstablishedResults } from "../../dataplane/conntrack/establishedLoops.ts";
import { FLOW_WORDS, type Flow, OUTCOME, STATUS, WORD } from "../../dataplane/conntrack/flow.ts";
import { FlowIndex } from "../../dataplane/conntrack/flowIndex.ts";
import { kindOf } from "../../dataplane/conntrack/flowStore.ts";
import { conntrackSettings, timeoutTable } from "../../dataplane/conntrack/options.ts";
import { trackTcp } from "../../dataplane/conntrack/tcp.ts";
import { HEAD_WORD, SIDES_WORD, TCP_STATE } from "../../dataplane/conntrack/tcpEntry.ts";
import { passSegment, type RowClock } from "../../dataplane/conntrack/tcpEstablished.ts";
import { hashEnds } from "../../dataplane/conntrack/tuple.ts";
import { createBatch, PACKET_FLAG, PATH, type PacketBatch, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";

const settings = conntrackSettings();
const timeouts = timeoutTable(settings.timeouts);

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
  visit: fc.constantFrom(0, 0, 4_000, 400_000),
});

const segmentArbitrary = fc.record({
  direction: fc.nat(1),
  flags: fc.constantFrom(0x10, 0x10, 0x10, 0x10, 0x18, 0x30, 0x11, 0x12, 0x04, 0x02, 0x00),
  window: fc.constantFrom(0, 1, 100, 65_535, 65_535, 65_535),
  sequence: fc.oneof(fc.integer({ min: -300, max: 300 }), fc.integer({ min: -70_000, max: 70_000 })),
  behind: fc.constantFrom(0, 300, 300, 600, 70_000),
  payloadBytes: fc.constantFrom(0, 0, 1, 100, 200),
  now: fc.integer({ min: -1_000, max: 1_000 }),
  time: fc.constantFrom(0, 0, -1, 0.0004, 0.0005, 0.4995, 1.2345, 1.9994, 1.9996, 4),
});

/** Until when rows may pass, milliseconds. */
const UNTIL = 2_000;

/** The ends of the connection, one context, and an outcome that is remembered for each direction. */
const CLIENT = { address: 0x0a000001, port: 40_000 };
const SERVER = { address: 0x0a000002, port: 8080 };
const TCP4 = kindOf(PROTOCOL.tcp, 4, 0);
const CONTEXT = { inDevice: 3, outDevice: 9, mark: 0x2_0000 };
/** 1 and the number of an outcome for each direction. */
const OUTCOMES = [11, 12] as const;
/** What those say: numbers that tell outcomes and columns apart. */
const outcomeWords = Int32Array.from({ length: 12 * OUTCOME_WORDS }, (_, word) => 0x1234_0000 + word);

const CONTEXTS = {
  words: Int32Array.of(0, 0, 0, 0, CONTEXT.inDevice | (CONTEXT.outDevice << 16), 0, CONTEXT.mark, 0),
  count: 1,
  /** Chains tell apart whether congestion is echoed; the segments of the property have no context that does. */
  tcpFlags: Uint8Array.from({ length: 256 }, (_, flags) => Number((flags & TCP_FLAG.E) !== 0)),
  outcomes: outcomeWords,
  outcomeCount: 12,
};

function setEnds(batch: PacketBatch, direction: number): void {
  const [from, to] = direction === 0 ? [CLIENT, SERVER] : [SERVER, CLIENT];
  batch.family[0] = 4;
  batch.protocol[0] = PROTOCOL.tcp;
  batch.source0[0] = from.address;
  batch.destination0[0] = to.address;
  batch.sourcePort[0] = from.port;
  batch.destinationPort[0] = to.port;
  batch.inDevice[0] = CONTEXT.inDevice;
  batch.outDevice[0] = CONTEXT.outDevice;
  batch.mark[0] = CONTEXT.mark;
}

/** The first of each column of results; and what it should be for the outcome whose words start there. */
function firstOf(results: EstablishedResults): Record<string, number | undefined> {
  return Object.fromEntries(Object.entries(results).map(([name, column]) => [name, column[0]]));
}

function meant(at: number): ReturnType<typeof firstOf> {
  const word = (number: number) => outcomeWords[at + number] ?? 0;
  const verdictAndState = word(OUTCOME_WORD.verdictAndState);
  return {
    verdict: verdictAndState & 0xff,
    ctState: (verdictAndState >>> 8) & 0xff,
    decision: word(OUTCOME_WORD.decision),
    rules: word(OUTCOME_WORD.rules),
    chains: word(OUTCOME_WORD.chains),
    setLookups: word(OUTCOME_WORD.setLookups),
  };
}

/** A table of one entry in the memory of the loops. */
class TableOfOne {
  readonly #loops = EstablishedLoops.of(1);
  readonly #place = { shift: 25, mask: 127 };

  passes(words: Int32Array, batch: PacketBatch, flow: Flow, clock: RowClock): boolean {
    return this.pass(words, batch, flow, clock, [0, 0]).passed;
  }

  /** The entry after the row has passed, or not. */
  pass(words: Int32Array, batch: PacketBatch, flow: Flow, clock: RowClock, outcomes: readonly number[] = OUTCOMES) {
    const loops = this.#loops;
    if (loops === undefined) throw new Error("no WebAssembly here");
    loops.words.set(words);
    const hash = hashEnds(CLIENT.address, SERVER.address, CLIENT.port, SERVER.port, TCP4);
    loops.places.set([hash, 1], (hash >>> this.#place.shift) * 2);
    loops.pass({ batch, first: 0, count: 1, contexts: CONTEXTS, hasRoom: false }, this.#place, flow, clock);
    const { looked, leftCount, seconds } = loops;
    const passed = looked === 1 && leftCount === 0;
    const at = ((outcomes[flow.direction] ?? 0) - 1) * OUTCOME_WORDS;
    if (passed) expect(firstOf(loops.results)).toEqual(meant(at));
    const after = loops.words.slice();
    const isStamped = after[WORD.stamp] !== 0;
    after[WORD.stamp] = 0;
    const unhung = Array.from({ length: loops.unhungCount }, (_, index) => loops.unhungSlot(index));
    expect(unhung).toEqual(passed && (after[WORD.deadline] ?? 0) < (after[WORD.visit] ?? 0) ? [0] : []);
    return { looked: looked === 1, passed, isStamped, seconds, words: after };
  }
}

/** Client ports of four such entries lie so far apart. */
const APART = 16;

function flowOf(words: Int32Array): Flow {
  return { words, bytes: new Uint8Array(0), at: 0, direction: 0, now: 0, ...{ timeouts, settings }, why: "" };
}

/** An established connection, and a segment of it that passes. */
function commonEntry(): Int32Array {
  const words = new Int32Array(FLOW_WORDS);
  words.set([CLIENT.address, SERVER.address, (CLIENT.port << 16) | SERVER.port, TCP4]);
  words.set([100, 70_000, 65_535, 50, 100, 70_000, 65_535, 50], 8);
  words[HEAD_WORD] = 7 | (TCP_STATE.established << 8);
  words[WORD.deadline] = 5_000;
  words.set([1 << 16, 1 << 16], WORD.memo);
  return words;
}

function commonSegment(): PacketBatch {
  const batch = createBatch(1);
  setEnds(batch, 0);
  batch.tcpFlags[0] = TCP_FLAG.A;
  batch.window[0] = 1_000;
  batch.sequence[0] = batch.acknowledgment[0] = 100;
  return batch;
}

/** A row of a batch in place of a row of another. */
function copyRow(from: PacketBatch, to: PacketBatch, row: number, which = 0): void {
  for (const name of Object.keys(to) as (keyof PacketBatch)[]) {
    const [given, column] = [from[name], to[name]];
    if (ArrayBuffer.isView(given) && ArrayBuffer.isView(column)) {
      (column as Uint32Array)[row] = (given as Uint32Array)[which] ?? 0;
    }
  }
}

/** Four rows like the first of a batch, each of another entry. */
function fourOf(batch: PacketBatch, direction: number): PacketBatch {
  const four = createBatch(4);
  for (let row = 0; row < 4; row++) copyRow(batch, four, row);
  const ports = direction === 0 ? four.sourcePort : four.destinationPort;
  for (let row = 0; row < 4; row++) ports[row] = (ports[row] ?? 0) + row * APART;
  return four;
}

/** A table of four equal entries but for their ports, whose rows the loops take at once when they can. */
class TableOfFour {
  readonly #loops = EstablishedLoops.of(4);
  readonly #index = new FlowIndex();

  constructor() {
    for (let slot = 0; slot < 4; slot++) {
      const hash = hashEnds(CLIENT.address, SERVER.address, CLIENT.port + slot * APART, SERVER.port, TCP4);
      this.#index.insert(hash, slot);
    }
    this.#loops?.places.set(this.#index.places);
  }

  /** The rows that were left, and the entries with equal ports, after a row of each. */
  pass(words: Int32Array, rows: PacketBatch, flow: Flow, clock: RowClock) {
    const loops = this.#loops;
    if (loops === undefined) throw new Error("no WebAssembly here");
    for (let slot = 0; slot < 4; slot++) {
      loops.words.set(words, slot * FLOW_WORDS);
      const ports = ((CLIENT.port + slot * APART) << 16) | SERVER.port;
      loops.words[slot * FLOW_WORDS + WORD.ports] = ports;
    }
    loops.pass(
      { batch: rows, first: 0, count: rows.capacity, contexts: CONTEXTS, hasRoom: true },
      this.#index,
      flow,
      clock,
    );
    const entries = [0, 1, 2, 3].map((slot) => {
      const entry = loops.words.slice(slot * FLOW_WORDS, (slot + 1) * FLOW_WORDS);
      entry[WORD.ports] = words[WORD.ports] ?? 0;
      entry[WORD.stamp] = 0;
      return entry.join();
    });
    const { results, seconds, unhungCount } = loops;
    return { left: [...loops.left.subarray(0, loops.leftCount)], entries, results, seconds, unhungCount };
  }
}

describe("the straight line for established segments", () => {
  it("does to an entry what the tracker does, or nothing", () => {
    const count = { passed: 0, left: 0 };
    const table = new TableOfOne();
    const tableOfFour = new TableOfFour();
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
        words[WORD.visit] = drawn.visit;
        words.set([CLIENT.address, SERVER.address, (CLIENT.port << 16) | SERVER.port, TCP4]);
        words.set(
          OUTCOMES.map((outcome) => (1 << 16) | outcome),
          WORD.memo,
        );

        const batch = createBatch(1);
        setEnds(batch, segment.direction);
        batch.time[0] = segment.time;
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
        const clock: RowClock = { seconds: 0, until: UNTIL };
        const byLoops = table.pass(words, batch, flow(words), clock);
        const line = flow(quick);
        if (segment.time > clock.seconds) line.now = Math.round(segment.time * 1000);
        expect(byLoops.looked).toBe(segment.time <= 0 || line.now < UNTIL);
        if (!byLoops.looked) return;
        const passes = passSegment(line, batch, 0);
        expect([byLoops.passed, byLoops.isStamped]).toEqual([passes, !passes]);
        expect(byLoops.words.join()).toBe(quick.join());
        const four = tableOfFour.pass(words, fourOf(batch, segment.direction), flow(words), clock);
        expect(four.left).toEqual(passes ? [] : [0, 1, 2, 3]);
        expect(four.entries).toEqual(Array(4).fill(quick.join()));
        expect(four.seconds).toBe(byLoops.seconds);
        expect(four.unhungCount).toBe(passes && (quick[WORD.deadline] ?? 0) < drawn.visit ? 4 : 0);
        expect(byLoops.seconds).toBe(passes ? Math.max(0, segment.time) : 0);
        if (!passes) {
          expect(quick.join()).toBe(words.join());
          count.left++;
          return;
        }
        count.passed++;
        const tracked = { ...flow(slow), now: line.now };
        expect(trackTcp(tracked, batch, 0)).toBe(OUTCOME.accept);
        expect(tracked.why).toBe("");
        expect(quick.join()).toBe(slow.join());
      }),
      { numRuns: 4_000 },
    );
    expect(count.passed).toBeGreaterThan(100);
    expect(count.left).toBeGreaterThan(400);
  });

  const changes: readonly (readonly [column: string, change: (batch: PacketBatch) => void])[] = [
    ["family", ({ family }) => family.fill(6)],
    ["protocol", ({ protocol }) => protocol.fill(PROTOCOL.udp)],
    ["fragment", ({ flags }) => flags.fill(PACKET_FLAG.fragment)],
    ["source", ({ source0 }) => source0.fill(SERVER.address + 1)],
    ["destination", ({ destination0 }) => destination0.fill(CLIENT.address - 1)],
    ["source port", ({ sourcePort }) => sourcePort.fill(CLIENT.port + 1)],
    ["destination port", ({ destinationPort }) => destinationPort.fill(SERVER.port + 1)],
    ["incoming device", ({ inDevice }) => inDevice.fill(CONTEXT.inDevice + 1)],
    ["outgoing device", ({ outDevice }) => outDevice.fill(CONTEXT.outDevice + 1)],
    ["incoming port", ({ physInDevice }) => physInDevice.fill(1)],
    ["outgoing port", ({ physOutDevice }) => physOutDevice.fill(1)],
    ["mark", ({ mark }) => mark.fill(CONTEXT.mark + 1)],
    ["path", ({ path }) => path.fill(PATH.input)],
    ["flags that chains tell apart", ({ tcpFlags }) => tcpFlags.fill(TCP_FLAG.A | TCP_FLAG.E)],
  ];

  it.each(changes)("in WebAssembly is not for a row of another %s", (_, change) => {
    const words = commonEntry();
    const passes = (batch: PacketBatch) =>
      new TableOfOne().passes(words, batch, flowOf(words), { seconds: 0, until: UNTIL });
    const batch = commonSegment();
    expect(passes(batch)).toBe(true);
    const four = fourOf(batch, 0);
    change(batch);
    expect(passes(batch)).toBe(false);
    // Among three others, it is left and they pass.
    copyRow(batch, four, 2);
    const { left } = new TableOfFour().pass(words, four, flowOf(words), { seconds: 0, until: UNTIL });
    expect(left).toEqual([2]);
  });

  it.each([
    [0.25, [0, 1, 2, 3]],
    [1, [0, 1, 2, 3, 4, 5, 6, 7]],
  ] as const)(
    "four in WebAssembly pass at 0.5 seconds after those left at %f only if time has not gone past them",
    (late, left) => {
      const four = fourOf(commonSegment(), 0);
      const rows = createBatch(8);
      for (let row = 0; row < 8; row++) {
        copyRow(four, rows, row, row & 3);
        rows.time[row] = row < 4 ? late : 0.5;
      }
      rows.sourcePort.fill(1, 0, 4);
      const words = commonEntry();
      expect(new TableOfFour().pass(words, rows, flowOf(words), { seconds: 0, until: UNTIL }).left).toEqual(left);
    },
  );
});
