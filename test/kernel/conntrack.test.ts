/** Connection tracking against the kernel: every transcript, and random conversations. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ConntrackOptions } from "../../dataplane/conntrack/options.ts";
import { SCTP_STATE_NAMES } from "../../dataplane/conntrack/sctp.ts";
import { TCP_STATE_NAMES } from "../../dataplane/conntrack/tcpEntry.ts";
import { ConntrackTable } from "../../dataplane/conntrack.ts";
import { appendPacket, createBatch } from "../../dataplane/packet.ts";
import type { ConversationKind } from "../../verify/fuzz/conversations.ts";
import {
  describeEntry,
  expectTranscript,
  parseTranscript,
  type TranscriptOptions,
} from "../dataplane/connectionTranscript.ts";
import { ICMP_TRANSCRIPTS, UDP_TRANSCRIPTS } from "../dataplane/datagramTranscripts.ts";
import { SCTP_TRANSCRIPTS } from "../dataplane/sctpTranscripts.ts";
import { TCP_TRANSCRIPTS } from "../dataplane/tcpTranscripts.ts";
import { sampled } from "../extent.ts";
import { packetsOf, SEED } from "./budget.ts";
import { judgeConnections } from "./connectionCampaign.ts";
import { ConnectionKernel } from "./connectionKernel.ts";
import { hasKernel } from "./kernel.ts";

/** Timeouts that cannot be mistaken for one another, and outlast the test. */
const APART: NonNullable<ConntrackOptions["timeouts"]> = {
  tcp: {
    synSent: 1000,
    synRecv: 1100,
    established: 9000,
    finWait: 1200,
    closeWait: 1300,
    lastAck: 1400,
    timeWait: 1500,
    close: 1600,
    maxRetransmissions: 1450,
    unacknowledged: 1250,
  },
  udp: { unreplied: 2000, stream: 2100 },
  sctp: {
    closed: 1000,
    cookieWait: 1100,
    cookieEchoed: 1200,
    established: 1300,
    shutdownSent: 1400,
    shutdownReceived: 1500,
    shutdownAckSent: 1600,
    heartbeatSent: 1700,
  },
  gre: { unreplied: 2200, stream: 2300 },
  icmp: 2400,
  icmpv6: 2500,
  generic: 2600,
};

describe.runIf(hasKernel("judge"))("connection tracking of the kernel", () => {
  let kernel: ConnectionKernel;

  beforeAll(async () => {
    kernel = await ConnectionKernel.start();
  });

  afterAll(async () => {
    await kernel.close();
  });

  const transcripts: readonly { readonly name: string; readonly text: string; readonly options: TranscriptOptions }[] =
    [
      ...TCP_TRANSCRIPTS.map(({ name, text, options }) => ({ name: `TCP: ${name}`, text, options: { ...options } })),
      ...SCTP_TRANSCRIPTS.map(({ name, text }) => ({
        name: `SCTP: ${name}`,
        text,
        options: { protocol: "sctp" } as const,
      })),
      ...[...UDP_TRANSCRIPTS, ...ICMP_TRANSCRIPTS].map(({ name, text, options }) => ({
        name,
        text,
        options: { ...options },
      })),
    ];

  it.each(sampled(transcripts, 12))("$name", async ({ text, options }) => {
    kernel.configure(options);
    await kernel.flush();
    for (const line of parseTranscript(text, options)) {
      const { zone, packet, isDropped } = line;
      const [answer] = await kernel.walk([{ packet, zone, isDropped }]);
      expect(answer?.state, line.text).toBe(isDropped ? undefined : line.state);
      if (line.entry.length > 0) expectEntry(describeEntry(kernel.entries(), line), line.entry, line.text);
    }
  });

  it("holds a later fragment until its datagram is whole: we call it invalid without its start", async () => {
    kernel.configure({});
    await kernel.flush();
    for (const family of [4, 6] as const) {
      const [line] = parseTranscript("> data fragment len=64 invalid none", { protocol: "udp", family });
      if (line === undefined) throw new Error("no line");
      const [answer] = await kernel.walk([line]);
      expect([answer?.state, answer?.events]).toEqual([undefined, []]);
      expectTranscript(line.text, { protocol: "udp", family });
    }
    expect(kernel.entries()).toEqual([]);
  });

  /** Several kinds of conversation, under all options that change what a tracker says. */
  const campaigns = [
    { kind: "tcp", share: 3, conntrack: { timeouts: APART } },
    { kind: "tcp", share: 1, conntrack: {} },
    { kind: "tcp", share: 1, conntrack: { timeouts: APART, tcpBeLiberal: true } },
    { kind: "tcp", share: 1, conntrack: { timeouts: APART, tcpLoose: false } },
    { kind: "tcp", share: 1, conntrack: { timeouts: APART, tcpMaxRetransmissions: 1, tcpIgnoreInvalidRst: true } },
    { kind: "sctp", share: 2, conntrack: { timeouts: APART } },
    { kind: "datagram", share: 1, conntrack: { timeouts: APART } },
    { kind: "icmp", share: 1, conntrack: { timeouts: APART } },
  ] as const;
  const shares = campaigns.reduce((sum, { share }) => sum + share, 0);

  it.each(campaigns)(
    "random $kind conversations with $conntrack",
    { timeout: 240_000 },
    async ({ share, ...campaign }) => {
      const packets = Math.ceil((packetsOf("connections") * share) / shares);
      const report = await judgeConnections(kernel, { ...campaign, packets, seed: SEED });
      expect(report.packets).toBeGreaterThanOrEqual(packets);
      expect(report.events).toBeGreaterThan(packets / 20);
      expect(report.entries).toBeGreaterThan(0);
      for (const [state, way] of reachable(campaign.kind)) {
        expect(
          [...report.covered].filter((what) => what.includes(`${way} ${state}`)).length,
          `${state}, ${way}`,
        ).toBeGreaterThan(1);
      }
    },
  );
});

describe.runIf(hasKernel("judge"))("connection tracking of the kernel, in time", () => {
  it("entries live for their seconds, and UDP becomes a stream after two", async () => {
    const timeouts = { tcp: { synSent: 1, established: 3 }, udp: { unreplied: 4, stream: 60 } } as const;
    const kernel = await ConnectionKernel.start();
    try {
      kernel.configure({ timeouts });
      const start = performance.now();
      const lines = [
        ...parseTranscript(
          `
          0.0  > S port=1  seq=1        new
          0.0  > S port=2  seq=1        new
          0.5  < SA port=1 seq=1 ack=2  established
          1.5  < SA port=2 seq=1 ack=2  invalid
          1.6  > A port=1  seq=2 ack=2  established
        `,
          { timeouts },
        ),
        ...parseTranscript(
          `
          0.0  > data port=3  new          4 unreplied
          0.2  < data port=3  established  4
          1.2  > data port=3  established  4
          2.8  > data port=3  established  60 assured
        `,
          { protocol: "udp", timeouts },
        ),
      ].sort((a, b) => a.packet.time - b.packet.time);
      const table = new ConntrackTable({ timeouts });
      const batch = createBatch(1);
      for (const line of lines) {
        const wait = line.packet.time * 1000 - (performance.now() - start);
        if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
        const [answer] = await kernel.walk([line]);
        batch.length = 0;
        const ours = table.lookup(batch, appendPacket(batch, line.packet), line.zone);
        table.confirm();
        expect([answer?.state, ours], line.text).toEqual([line.state, line.state]);
        if (line.entry.length === 0) continue;
        expectEntry(describeEntry(kernel.entries(), line), line.entry, line.text);
        expectEntry(describeEntry([...table.entries()], line), line.entry, line.text);
      }
    } finally {
      await kernel.close();
    }
  });
});

/** States in which packets of either direction must have been met, or the comparison says little. */
function reachable(kind: ConversationKind): [state: string, way: string][] {
  const states = kind === "tcp" ? TCP_STATE_NAMES : kind === "sctp" ? SCTP_STATE_NAMES : ["NONE"];
  return states.slice(1).flatMap((state) => ["original", "reply"].map((way): [string, string] => [state, way]));
}

/** The same words; seconds may have passed since. */
function expectEntry(found: string, wanted: readonly string[], text: string): void {
  const words = found.split(" ");
  const passed = wanted.map((word, index) => {
    const seconds = Number(words[index]);
    return /^\d+$/.test(word) && Number(word) - seconds >= 0 && Number(word) - seconds <= 2 ? String(seconds) : word;
  });
  expect(found, text).toBe(passed.join(" "));
}
